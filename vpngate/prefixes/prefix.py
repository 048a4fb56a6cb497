# SPDX-License-Identifier: GPL-2.0-or-later
"""One prefix: from text to bytes and back, fast enough for a million.

Knows how prefixes are written (RFC 4632, RFC 4291) and what a registry does not
take: host bits, missing lengths. An IPv4-mapped IPv6 prefix (::ffff:0:0/96) is read as
IPv4. Does not know registries.
"""

from collections.abc import Iterator
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vpngate.packets import Family, format_address

_OCTETS = {str(value): bytes([value]) for value in range(256)}
_MASKS_4, _MASKS_6 = (
    # All ones in the host part, and the length itself as a byte, by its text.
    {
        str(length): ((1 << (bits - length)) - 1, bytes([length]))
        for length in range(bits + 1)
    }
    for bits in (32, 128)
)
_GROUPS = 8  # of 16 bits in an IPv6 address
_HEX_DIGITS = 4  # at most, in a group
_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291, 2.5.5.2: it is the IPv4 address
_MAPPED_BITS = 96


class Prefix(NamedTuple):
    """A network and its length in bits."""

    network: bytes  # network byte order, 4 or 16 bytes, host bits zero
    length: int

    @property
    def family(self) -> Family:
        """The family that the network's width tells."""
        return Family.IPV4 if len(self.network) == Family.IPV4.width else Family.IPV6

    @property
    def packed(self) -> bytes:
        """The network, then the length in a byte."""
        return self.network + bytes([self.length])

    def enclosing(self) -> "Iterator[Prefix]":
        """Yields the prefix itself, then each shorter one around it, up to /0."""
        bits = 8 * len(self.network)
        number = int.from_bytes(self.network, "big")
        for length in range(self.length, -1, -1):
            number = number >> (bits - length) << (bits - length)
            yield Prefix(number.to_bytes(len(self.network), "big"), length)

    def __str__(self) -> str:
        return f"{format_address(self.network)}/{self.length}"


def parse_prefix(text: str) -> Prefix:
    """A prefix from `203.0.113.0/24` or `2001:db8::/32`.

    ValueError says what is wrong and, where it can be told, what was meant.
    """
    packed = pack_prefix(text)
    return Prefix(packed[:-1], packed[-1])


def pack_prefix(text: str) -> bytes:
    """Like `parse_prefix`, but returns bytes: the network, then the length."""
    address, slash, size = text.partition("/")
    network, masks = (
        (parse_ipv6(address), _MASKS_6)
        if ":" in address
        else (parse_ipv4(address), _MASKS_4)
    )
    if size not in masks:
        longest = len(masks) - 1
        if not slash:
            raise ValueError(f"{text!r} has no length; write {text}/{longest} for one")
        raise ValueError(f"{size!r} is not a length from 0 to {longest}")
    mask, length = masks[size]
    if int.from_bytes(network, "big") & mask:
        meant = ip_network((network, int(size)), strict=False)
        raise ValueError(f"{text!r} has host bits set; {meant} would be its network")
    if network[:12] == _MAPPED:  # at least a /96, or host bits would be set
        return network[12:] + (int(size) - _MAPPED_BITS).to_bytes(1, "big")
    return network + length


def parse_ipv4(text: str) -> bytes:
    """Returns the 4 bytes of `192.0.2.1`; ValueError for anything else."""
    try:
        a, b, c, d = text.split(".")
        return _OCTETS[a] + _OCTETS[b] + _OCTETS[c] + _OCTETS[d]
    except (ValueError, KeyError):
        # The slow way has the better words for what is wrong.
        return IPv4Address(text).packed


def parse_ipv6(text: str) -> bytes:
    """Returns the 16 bytes of an address as RFC 4291, 2.2, writes it; or ValueError."""
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
    """Returns the host mask of every prefix length, from 0 on, one a row."""
    masks = _MASKS_4 if family is Family.IPV4 else _MASKS_6
    octets = b"".join(mask.to_bytes(family.width, "big") for mask, _ in masks.values())
    return np.frombuffer(octets, dtype=np.uint8).reshape(-1, family.width)
