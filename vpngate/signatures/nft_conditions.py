# SPDX-License-Identifier: GPL-2.0-or-later
"""The pieces of a signature as nftables conditions.

Knows how a netdev chain compares bytes, and what the kernel compares fast; does not
know chains, sets, or what is done with a packet that matches. `decision.py` puts the
pieces together.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from vpngate.expressions import (
    Base,
    Bitwise,
    Compare,
    CompareOp,
    Expression,
    ExtensionHeader,
    Meta,
    MetaKey,
    Payload,
    Range,
    Rule,
)
from vpngate.packets import Transport
from vpngate.signatures import headers
from vpngate.signatures.declaration import Field, Shape

# Loads of one, two and four bytes that begin at a multiple of their size, masks of four
# bytes, and comparisons of as many are done inline by the kernel (nft_payload_fast,
# nft_bitwise_fast, nft_cmp_fast), in some 5 ns each. All else is a call: 20 to 50.
WORD = 4

_PORTS = (Payload(Base.TRANSPORT, 0, 2), Payload(Base.TRANSPORT, 2, 2))
_UDP_LENGTH = Payload(Base.TRANSPORT, headers.UDP_LENGTH_AT, 2)
_TCP_HEADER_SIZE = (
    Payload(Base.TRANSPORT, headers.TCP_DATA_OFFSET_AT, WORD),
    Bitwise(b"\xf0\0\0\0", bytes(WORD)),
)

# An IPv4 and an IPv6 condition, of which one holds for what is whole.
UNFRAGMENTED: tuple[Rule, Rule] = (
    (
        *(Meta(MetaKey.PROTOCOL), Compare(b"\x08\x00")),
        Payload(Base.NETWORK, headers.IPV4_FRAGMENT_AT, 2),
        Bitwise(
            (headers.IPV4_MORE_FRAGMENTS | headers.IPV4_FRAGMENT_OFFSET).to_bytes(2),
            bytes(2),
        ),
        Compare(bytes(2)),
    ),
    (
        *(Meta(MetaKey.PROTOCOL), Compare(b"\x86\xdd")),
        *(ExtensionHeader(headers.IPV6_FRAGMENT), Compare(bytes(1))),
    ),
)


class Word(NamedTuple):
    """Bytes at a place that is counted from the transport header, and which bits."""

    at: int
    value: bytes
    mask: bytes

    @property
    def bits(self) -> int:
        """How many bits it compares."""
        return int.from_bytes(self.mask).bit_count()


def entrance(transport: Transport) -> Rule:
    """Returns the condition that holds for every packet of `transport`.

    The kernel knows the transport of valid IPv4 and IPv6 packets only. Fragments pass.
    A later load from the transport header ends the rule for all but the first
    fragment; `UNFRAGMENTED` excludes that one, too.
    """
    return Meta(MetaKey.L4PROTO), Compare(bytes([transport]))


def header_conditions(transport: Transport) -> Iterator[tuple[Rule, int]]:
    """What a transport header may look like, and where the payload begins then.

    One of them holds; the usual ones come first.
    """
    match transport:
        case Transport.UDP:
            yield (), headers.UDP_HEADER
        case Transport.TCP:
            for size in headers.TCP_HEADERS:
                yield (*_TCP_HEADER_SIZE, _of_size(size)), size
        case _:
            yield (), 0


def unusual_header() -> Rule:
    """The condition for a TCP header of none of the usual sizes."""
    differ = CompareOp.NEQ
    sizes = headers.TCP_USUAL_HEADERS
    return (*_TCP_HEADER_SIZE, *(_of_size(size, differ) for size in sizes))


def port_condition(end: int, ports: tuple[int, int]) -> Rule:
    """The source's port (end 0) or the destination's (1) is in that range."""
    return _PORTS[end], _within(*ports)


def common_of_ports(end: int, ranges: Sequence[tuple[int, int]]) -> Word | None:
    """What all those ports of one end have in common; None for nothing."""
    return _common(0, 2 * end, ranges)


def common_of_lengths(ranges: Sequence[tuple[int, int]]) -> Word | None:
    """What all those lengths, as a UDP header states them, have in common."""
    return _common(headers.UDP_LENGTH_AT, 0, ranges)


def _common(at: int, within: int, ranges: Sequence[tuple[int, int]]) -> Word | None:
    """The bits that all numbers of those ranges share, two bytes of the word there."""
    if not ranges:
        return None
    first, _ = ranges[0]
    differ = 0
    for low, high in ranges:
        # Within a range all bits from the first that changes on may be anything.
        differ |= (low ^ first) | (1 << (low ^ high).bit_length()) - 1
    mask = ~differ & 0xFFFF
    if not mask:
        return None
    value_and_mask = ((first & mask).to_bytes(2), mask.to_bytes(2))
    before, behind = bytes(within), bytes(WORD - 2 - within)
    return Word(at, *(before + part + behind for part in value_and_mask))


def length_conditions(shape: Shape) -> Iterator[Rule]:
    """The conditions of which one has to hold; an empty one for any length."""
    if not shape.lengths:
        yield ()
    for shortest, longest in shape.udp_lengths:
        yield _UDP_LENGTH, _within(shortest, longest)


def compare_fields(fields: Iterable[Field], start: int) -> Iterator[Expression]:
    """The conditions that all have to hold, in a payload that begins at `start`."""
    for field in fields:
        yield Payload(Base.TRANSPORT, start + field.offset, len(field.value))
        if field.mask is not None and field.mask.strip(b"\xff"):
            yield Bitwise(field.mask, bytes(len(field.mask)))
        yield Compare(field.value, CompareOp.NEQ if field.differs else CompareOp.EQ)


def compare_word(word: Word) -> Rule:
    """The condition, without a mask where half or a quarter of it needs none."""
    at, value, mask = word
    for size in (1, 2, WORD):
        if mask[:size] == b"\xff" * size and not any(mask[size:]):
            return Payload(Base.TRANSPORT, at, size), Compare(value[:size])
    load = Payload(Base.TRANSPORT, at, len(mask))
    return load, Bitwise(mask, bytes(len(mask))), Compare(value)


def _of_size(size: int, comparison: CompareOp = CompareOp.EQ) -> Compare:
    words = bytes([size // 4 << 4])
    return Compare(words + bytes(WORD - len(words)), comparison)


def _within(low: int, high: int) -> Compare | Range:
    first, last = low.to_bytes(2, "big"), high.to_bytes(2, "big")
    return Compare(first) if low == high else Range(first, last)
