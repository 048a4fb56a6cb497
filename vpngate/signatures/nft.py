# SPDX-License-Identifier: GPL-2.0-or-later
"""A signature as nftables rules.

Knows how a netdev chain compares bytes; does not know chains, sets, or what is
done with a packet that matches: whoever builds the table ends each rule with its
own step (a limit and a log, or a jump).

`entrances` admit unfragmented packets of one transport; `rules_of` may stand only
behind them, and then says no more about family, transport and fragments.
"""

from collections.abc import Iterator

from vpngate.expressions import (
    Base,
    Bitwise,
    Compare,
    Comparison,
    Expression,
    ExtensionHeader,
    Meta,
    MetaKey,
    Payload,
    Range,
    Rule,
)
from vpngate.packets import Transport
from vpngate.signatures.declaration import Field, Shape, Signature

_ETHERTYPE_IPV4 = b"\x08\x00"
_ETHERTYPE_IPV6 = b"\x86\xdd"
_IPV4_FRAGMENT = Payload(Base.NETWORK, 6, 2)
_IPV4_MORE_OR_OFFSET = b"\x3f\xff"  # RFC 791: MF and the offset, not DF
_IPV6_FRAGMENT = 44  # RFC 8200, section 4.5

_SOURCE_PORT = Payload(Base.TRANSPORT, 0, 2)
_DESTINATION_PORT = Payload(Base.TRANSPORT, 2, 2)
_UDP_HEADER = 8
_UDP_LENGTH = Payload(Base.TRANSPORT, 4, 2)
_TCP_DATA_OFFSET = Payload(Base.TRANSPORT, 12, 1)
_TCP_HEADERS = (20, 32)  # without options; with timestamps (RFC 7323), padded


def entrances(transport: Transport) -> tuple[Rule, Rule]:
    """The IPv4 and the IPv6 condition for an unfragmented packet of `transport`."""
    protocol = (Meta(MetaKey.L4PROTO), Compare(bytes([transport])))
    return (
        (
            *protocol,
            *(Meta(MetaKey.PROTOCOL), Compare(_ETHERTYPE_IPV4)),
            _IPV4_FRAGMENT,
            Bitwise(_IPV4_MORE_OR_OFFSET, bytes(2)),
            Compare(bytes(2)),
        ),
        (
            *protocol,
            *(Meta(MetaKey.PROTOCOL), Compare(_ETHERTYPE_IPV6)),
            *(ExtensionHeader(_IPV6_FRAGMENT), Compare(bytes(1))),
        ),
    )


def rules_of(signature: Signature) -> tuple[Rule, ...]:
    """One rule for each way to match; a packet matches if any one of them holds."""
    return tuple(
        (*ports, *header, *length, *_fields(shape, start))
        for ports in _ports(signature)
        for header, start in _headers(signature.transport)
        for shape in signature.shapes
        for length in _lengths(shape)
    )


def _headers(transport: Transport) -> Iterator[tuple[Rule, int]]:
    """The header's conditions, and where the payload begins behind them."""
    match transport:
        case Transport.UDP:
            yield (), _UDP_HEADER
        case Transport.TCP:
            for size in _TCP_HEADERS:
                words = Compare(bytes([size // 4 << 4]))
                yield (_TCP_DATA_OFFSET, Bitwise(b"\xf0", b"\x00"), words), size
        case _:
            yield (), 0


def _ports(signature: Signature) -> Iterator[Rule]:
    if not signature.ports:
        yield ()
    for low, high in signature.port_ranges:
        for port in (_SOURCE_PORT, _DESTINATION_PORT):
            yield port, _within(low, high)


def _lengths(shape: Shape) -> Iterator[Rule]:
    if not shape.lengths:
        yield ()
    for shortest, longest in shape.lengths:
        yield _UDP_LENGTH, _within(shortest + _UDP_HEADER, longest + _UDP_HEADER)


def _within(low: int, high: int) -> Compare | Range:
    first, last = low.to_bytes(2, "big"), high.to_bytes(2, "big")
    return Compare(first) if low == high else Range(first, last)


def _fields(shape: Shape, start: int) -> Iterator[Expression]:
    for field in shape.fields:
        yield Payload(Base.TRANSPORT, start + field.offset, len(field.value))
        yield from _comparison(field)


def _comparison(field: Field) -> Iterator[Expression]:
    if field.mask is not None:
        yield Bitwise(field.mask, bytes(len(field.mask)))
    yield Compare(field.value, Comparison.NEQ if field.differs else Comparison.EQ)
