# SPDX-License-Identifier: GPL-2.0-or-later
"""A signature as nftables rules.

Knows how a netdev chain compares bytes; does not know chains, sets, or what is
done with a packet that matches: whoever builds the table ends each rule with its
own step (a limit and a log, or a jump).

`entrances` admit unfragmented packets of one transport; `rules_of` may stand only
behind them, and then says no more about family, transport and fragments.
"""

from collections.abc import Iterator, Sequence

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
        (*ports, *header, *length, *compare_fields(shape.fields, start))
        for ports in port_conditions(signature)
        for header, start in header_conditions(signature.transport)
        for shape in signature.shapes
        for length in length_conditions(shape)
    )


def header_conditions(transport: Transport) -> Iterator[tuple[Rule, int]]:
    """What a transport header may look like, and where the payload begins then."""
    match transport:
        case Transport.UDP:
            yield (), _UDP_HEADER
        case Transport.TCP:
            for size in _TCP_HEADERS:
                words = Compare(bytes([size // 4 << 4]))
                yield (_TCP_DATA_OFFSET, Bitwise(b"\xf0", b"\x00"), words), size
        case _:
            yield (), 0


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
    for shortest, longest in shape.lengths:
        yield _UDP_LENGTH, _within(shortest + _UDP_HEADER, longest + _UDP_HEADER)


def compare_fields(fields: Sequence[Field], start: int) -> Iterator[Expression]:
    """The conditions that all have to hold, in a payload that begins at `start`."""
    for field in fields:
        yield Payload(Base.TRANSPORT, start + field.offset, len(field.value))
        if field.mask is not None:
            yield Bitwise(field.mask, bytes(len(field.mask)))
        yield Compare(field.value, Comparison.NEQ if field.differs else Comparison.EQ)


def _within(low: int, high: int) -> Compare | Range:
    first, last = low.to_bytes(2, "big"), high.to_bytes(2, "big")
    return Compare(first) if low == high else Range(first, last)
