# SPDX-License-Identifier: GPL-2.0-or-later
"""From which address somebody asks, also behind proxies that are trusted.

Knows X-Forwarded-For and Forwarded (RFC 7239), and that whoever is not trusted may
write anything into either; does not know what is asked. In doubt nobody is meant: who
could pass for another would learn what is that other's alone.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address

from netaddr import IPAddress, IPNetwork

from vpngate.packets import format_address
from vpngate.public.question import about

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110, 5.6.2
_PAIR = re.compile(
    rf'\s*(?P<name>{_TOKEN})=(?P<value>{_TOKEN}|"(?:[^"\\]|\\.)*")\s*(?P<end>[;,]|$)',
)
# A node of either header: an address, in brackets or not, and perhaps a port.
_NODE = re.compile(r"\[(?P<in>[^\]]+)\](:\w+)?|(?P<v4>[\d.]+)(:\w+)?|(?P<bare>.+)")


def caller_of(
    peer: str, headers: Mapping[str, str], trusted: Sequence[IPNetwork]
) -> bytes | None:
    """The address that a request came from; None where that cannot be told.

    `peer` is who has connected. One that is trusted is asked on whose behalf; of those
    that the headers name, the last one counts that is not trusted as well. Where there
    is none, the first is whatever the caller wrote: nobody is meant.
    """
    address = _address(peer)
    if address is None or not _is_trusted(address, trusted):
        return address
    told = []
    if "x-forwarded-for" in headers:
        told.append(_first_stranger(_listed(headers["x-forwarded-for"]), trusted))
    if "forwarded" in headers:
        told.append(_first_stranger(_forwarded(headers["forwarded"]), trusted))
    # A proxy writes one of them, and hands on what a stranger wrote into the other.
    return told[0] if told and told.count(told[0]) == len(told) else None


def could_be_anybody(peer: str, local: str, is_own: Callable[[bytes], bool]) -> bool:
    """Whether any user of this machine may be who connects from `peer` to `local`.

    A proxy there cannot be told from them: what it says of others, they could say.
    `is_own` knows the machine's addresses, those of loopback perhaps not.
    """
    address = _address(peer)
    if address is None:
        return True
    if ip_address(address).is_loopback or address == _address(local):
        return True
    return is_own(address)


def _first_stranger(
    nodes: Sequence[str | None], trusted: Sequence[IPNetwork]
) -> bytes | None:
    """The first, from the end, that is not a trusted proxy; None where all are."""
    for node in reversed(nodes):
        address = None if node is None else _address(node)
        if address is None or not _is_trusted(address, trusted):
            return address
    return None


def _is_trusted(address: bytes, trusted: Sequence[IPNetwork]) -> bool:
    found = IPAddress(format_address(address))
    return any(found in network for network in trusted)


def _listed(field: str) -> list[str]:
    return [node.strip() for node in field.split(",")]


def _forwarded(field: str) -> list[str | None]:
    """The `for` of each element (RFC 7239, 4); None where there is no telling."""
    try:
        return [*_elements(field)]
    except ValueError:
        return [None]


def _elements(field: str) -> Iterator[str | None]:
    at, node = 0, None
    while True:
        pair = _PAIR.match(field, at)
        if pair is None:
            raise ValueError("not a list of elements")
        if pair["name"].lower() == "for":
            node = re.sub(r"\\(.)", r"\1", pair["value"].removeprefix('"'))
            node = node.removesuffix('"')
        at = pair.end()
        if pair["end"] != ";":
            yield node
            node = None
        if not pair["end"]:
            return


def _address(node: str) -> bytes | None:
    """The address of a node, without port or zone; None for a name or nonsense."""
    found = _NODE.fullmatch(node)
    if found is None:
        return None
    text = found["in"] or found["v4"] or found["bare"]
    try:
        packed = ip_address(text.partition("%")[0]).packed
    except ValueError:
        return None
    return about(packed).first
