# SPDX-License-Identifier: GPL-2.0-or-later
"""By which names pages may be asked for.

Knows what a page on a foreign name could be used for: a browser that was led here by
somebody else's name server (DNS rebinding) would read it in that name. Does not know
requests.
"""

from collections.abc import Callable, Collection
from ipaddress import ip_address

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

# The host asked for (no port, lower case) and the address that was reached; whether
# that is one of ours.
Hosts = Callable[[str, str], bool]


def anything(_host: str, _local: str) -> bool:
    """Whoever asks, by whatever name."""
    return True


def known_hosts(listen: str, names: Callable[[], Collection[str]]) -> Hosts:
    """The address listened on or reached, and `names`; asked at each request.

    On loopback without names everything goes: a proxy in front sees to names there.
    Nobody names nothing but programs that speak HTTP/1.0, so that is taken.
    """
    private = ip_address(listen).is_loopback

    def known(host: str, local: str) -> bool:
        ours = {name.lower() for name in names()}
        if not host or (private and not ours):
            return True
        host = host.removesuffix(".")
        if host in ours or (private and host in _LOOPBACK):
            return True
        return _address(host) in {_address(listen), _address(local)} - {""}

    return known


def _address(text: str) -> str:
    """An address as it is compared; "" for what is none."""
    try:
        parsed = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
