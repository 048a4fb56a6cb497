# SPDX-License-Identifier: GPL-2.0-or-later
"""By which host names pages may be asked for.

Knows why it matters: with DNS rebinding, somebody else's name leads a browser here,
and that site's scripts could read the page. Does not know requests.
"""

from collections.abc import Callable, Collection
from ipaddress import ip_address

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

# The host asked for (no port, lower case) and the address that was reached; whether
# that is one of ours.
Hosts = Callable[[str, str], bool]


def anything(_host: str, _local: str) -> bool:
    """Returns True: any host name will do."""
    return True


def known_hosts(listen: str, names: Callable[[], Collection[str]]) -> Hosts:
    """The address listened on or reached, and `names`; asked at each request.

    On loopback and without `names` any host will do: there a proxy checks names. A
    request without a host is taken, too: only programs that speak HTTP/1.0 send it.
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
    """Returns an address in the form that is compared; "" if the text is none."""
    try:
        parsed = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
