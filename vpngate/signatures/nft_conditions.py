# SPDX-License-Identifier: GPL-2.0-or-later
"""The pieces of a signature as nftables conditions.

Knows how a netdev chain compares bytes, and what the kernel compares fast; does not
know chains, sets, or what is done with a packet that matches. `decision.py` puts the
pieces together.
"""

from collections.abc import Iterable, Iterator

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
from vpngate.signatures.declaration import Field, Shape, Signature

# Loads of one, two and four bytes, masks of four, and comparisons are done inline by
# the kernel (nft_payload_fast, nft_bitwise_fast, nft_cmp_fast); all else is a call.
_WORD = 4

_SOURCE_PORT = Payload(Base.TRANSPORT, 0, 2)
_DESTINATION_PORT = Payload(Base.TRANSPORT, 2, 2)
_UDP_LENGTH = Payload(Base.TRANSPORT, headers.UDP_LENGTH_AT, 2)
_TCP_HEADER_SIZE = (
    Payload(Base.TRANSPORT, headers.TCP_DATA_OFFSET_AT, _WORD),
    Bitwise(b"\xf0\0\0\0", bytes(_WORD)),
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


def entrances(transport: Transport) -> tuple[Rule, ...]:
    """Returns conditions, one of which holds for every packet of `transport`.

    The kernel knows the transport of valid IPv4 and IPv6 packets only. Fragments pass.
    A later load from the transport header ends the rule for all but the first
    fragment; `UNFRAGMENTED` excludes that one, too.
    """
    return ((Meta(MetaKey.L4PROTO), Compare(bytes([transport]))),)


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


def port_conditions(signature: Signature) -> Iterator[Rule]:
    """The conditions of which one has to hold; an empty one for any port."""
    if not signature.ports:
        yield ()
    for low, high in signature.port_ranges:
        for port in (_SOURCE_PORT, _DESTINATION_PORT):
            yield port, _within(low, high)


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
        if field.mask is not None:
            yield Bitwise(field.mask, bytes(len(field.mask)))
        yield Compare(field.value, CompareOp.NEQ if field.differs else CompareOp.EQ)


def compare_fast(field: Field, start: int, reach: int) -> Iterator[Expression]:
    """The same for one field, in a payload of which `reach` bytes have to be there.

    Masked bytes are loaded as a whole word if there is one: see above.
    """
    padding = _WORD - len(field.value)
    if field.mask is None or padding <= 0 or field.offset + _WORD > reach:
        yield from compare_fields((field,), start)
        return
    yield Payload(Base.TRANSPORT, start + field.offset, _WORD)
    yield Bitwise(field.mask + bytes(padding), bytes(_WORD))
    yield Compare(field.value + bytes(padding))


def _of_size(size: int, comparison: CompareOp = CompareOp.EQ) -> Compare:
    words = bytes([size // 4 << 4])
    return Compare(words + bytes(_WORD - len(words)), comparison)


def _within(low: int, high: int) -> Compare | Range:
    first, last = low.to_bytes(2, "big"), high.to_bytes(2, "big")
    return Compare(first) if low == high else Range(first, last)
