# SPDX-License-Identifier: GPL-2.0-or-later
"""A cheap first look at a packet, before the whole filter of a transport.

Knows which first payload bytes and which ports the signatures of a transport leave
possible, and how to ask for them in a libpcap expression; does not know the rest of
a signature. Nearly all traffic goes no further than this, which is what makes a
capture of millions of packets quick to search.
"""

from collections.abc import Iterable, Iterator, Sequence

from vpngate.packets import Family, Transport
from vpngate.signatures import Shape, Signature

_BYTES = range(256)
_IPV4_HEADER = "((ip[0] & 0xf) << 2)"
_TCP_HEADER = "((tcp[12] & 0xf0) >> 2)"
_IPV6_PASSED_OVER = (0, 43, 60)  # RFC 8200: hop-by-hop, routing, destination options
_TCP_HEADER_IPV6 = "((ip6[52] & 0xf0) >> 2)"


def first_look(
    family: Family, transport: Transport, signatures: Sequence[Signature]
) -> str | None:
    """An expression that every match of a family passes; None where none would help.

    An IPv6 packet that begins with extension headers always passes. An empty TCP
    segment never does, whatever Ethernet's padding behind it looks like.
    """
    if not transport.has_ports:
        return None
    bytes_ = _runs(_first_bytes(signatures))
    ports = _runs({port for signature in signatures for port in signature.ports})
    if bytes_ == [(_BYTES[0], _BYTES[-1])]:
        return None

    def one_of(payload: str, source: str, destination: str) -> str:
        tests = [_within(payload, *run) for run in bytes_]
        tests += [_within(p, *run) for run in ports for p in (source, destination)]
        return f"({' or '.join(tests)})"

    if family is Family.IPV4:
        if transport is Transport.UDP:
            test = one_of("udp[8]", "udp[0:2]", "udp[2:2]")
        else:
            test = (
                f"ip[2:2] > {_IPV4_HEADER} + {_TCP_HEADER} and "
                f"{one_of(f'tcp[{_TCP_HEADER}]', 'tcp[0:2]', 'tcp[2:2]')}"
            )
        return f"ip and ip[9] = {transport:d} and {test}"
    if transport is Transport.UDP:
        test = one_of("ip6[48]", "ip6[40:2]", "ip6[42:2]")
    else:
        test = (
            f"ip6[4:2] > {_TCP_HEADER_IPV6} and "
            f"{one_of(f'ip6[40 + {_TCP_HEADER_IPV6}]', 'ip6[40:2]', 'ip6[42:2]')}"
        )
    chained = " or ".join(f"ip6[6] = {header}" for header in _IPV6_PASSED_OVER)
    return f"ip6 and ({chained} or (ip6[6] = {transport:d} and {test}))"


def _first_bytes(signatures: Iterable[Signature]) -> set[int]:
    """The first payload bytes of matches on any port."""
    starts = {  # few, however many shapes there are
        _start(shape)
        for signature in signatures
        if not signature.ports
        for shape in signature.shapes
    }
    return {
        byte
        for start in starts
        for byte in _BYTES
        if all(byte & mask == value for value, mask in start)
    }


def _start(shape: Shape) -> frozenset[tuple[int, int]]:
    """Values and masks that the first byte of a shape has to meet."""
    return frozenset(
        (field.value[0], (field.mask or b"\xff")[0])
        for field in shape.fields
        if field.offset == 0 and not field.differs
    )


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """The numbers as inclusive ranges."""
    return list(_adjacent(sorted(numbers)))


def _adjacent(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    first = 0
    for at, number in enumerate(numbers):
        if at + 1 == len(numbers) or numbers[at + 1] != number + 1:
            yield numbers[first], number
            first = at + 1


def _within(value: str, low: int, high: int) -> str:
    if low == high:
        return f"{value} = {low}"
    return f"({value} >= {low} and {value} <= {high})" if low else f"{value} <= {high}"
