# SPDX-License-Identifier: GPL-2.0-or-later
"""One prefix: from text to bytes and back, fast enough for a million.

Knows how prefixes are written (RFC 4632, RFC 4291) and what a registry does not
take: host bits, missing lengths, IPv4 in IPv6's clothes. Does not know registries.
"""

from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vpngate.packets import Family, format_address

_OCTETS = {str(value): bytes([value]) for value in range(256)}
_LENGTHS = {str(value): value for value in range(129)}
# All ones in the host part, by prefix length.
_HOST_BITS = {
    family: [
        (1 << (8 * family.width - length)) - 1 for length in range(8 * family.width + 1)
    ]
    for family in Family
}
_GROUPS = 8  # of 16 bits in an IPv6 address
_HEX_DIGITS = 4  # at most, in a group
_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291, 2.5.5.2


class Prefix(NamedTuple):
    """A network and its length in bits."""

    network: bytes  # network byte order, 4 or 16 bytes, host bits zero
    length: int

    @property
    def family(self) -> Family:
        """The family that the network's width tells."""
        return Family.IPV4 if len(self.network) == Family.IPV4.width else Family.IPV6

    def __str__(self) -> str:
        return f"{format_address(self.network)}/{self.length}"


def parse_prefix(text: str) -> Prefix:
    """A prefix from `203.0.113.0/24` or `2001:db8::/32`.

    ValueError says what is wrong and, where it can be told, what was meant.
    """
    address, slash, size = text.partition("/")
    network = parse_ipv6(address) if ":" in address else parse_ipv4(address)
    family = Family.IPV4 if len(network) == Family.IPV4.width else Family.IPV6
    bits = 8 * family.width
    if not slash:
        raise ValueError(f"{text!r} has no length; write {text}/{bits} for one address")
    length = _LENGTHS.get(size, -1)
    if not 0 <= length <= bits:
        raise ValueError(f"{size!r} is not a length from 0 to {bits}")
    if int.from_bytes(network, "big") & _HOST_BITS[family][length]:
        meant = ip_network((network, length), strict=False)
        raise ValueError(f"{text!r} has host bits set; {meant} would be its network")
    if network[:12] == _MAPPED:
        raise ValueError(f"{text!r} is IPv4 mapped into IPv6; write it as IPv4")
    return Prefix(network, length)


def parse_ipv4(text: str) -> bytes:
    """Four octets in decimal, without leading zeros; ValueError otherwise."""
    try:
        a, b, c, d = text.split(".")
        return _OCTETS[a] + _OCTETS[b] + _OCTETS[c] + _OCTETS[d]
    except (ValueError, KeyError):
        # The slow way has the better words for what is wrong.
        return IPv4Address(text).packed


def parse_ipv6(text: str) -> bytes:
    """An address as RFC 4291, section 2.2, writes it; ValueError otherwise."""
    head, gap, tail = text.partition("::")
    before = head.split(":") if head else []
    after = tail.split(":") if tail else []
    missing = _GROUPS - len(before) - len(after)
    groups = [*before, *["0"] * missing, *after]
    digits = "".join([group.rjust(_HEX_DIGITS, "0") for group in groups if group])
    if bool(gap) == (missing > 0) and len(digits) == _GROUPS * _HEX_DIGITS:
        try:
            packed = bytes.fromhex(digits)
        except ValueError:
            packed = b""
        if len(groups) == _GROUPS and len(packed) == Family.IPV6.width:
            return packed
    # Dotted tails come this way, and what is wrong: the slow way has the words.
    if "%" in text:
        raise ValueError(f"{text!r} names an interface; a registry has none")
    return IPv6Address(text).packed


@cache
def host_masks(family: Family) -> NDArray[np.uint8]:
    """All ones in the host part: one row a prefix length, 0 first."""
    masks = b"".join(bits.to_bytes(family.width, "big") for bits in _HOST_BITS[family])
    return np.frombuffer(masks, dtype=np.uint8).reshape(-1, family.width)
