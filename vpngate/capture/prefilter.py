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
from vpngate.signatures.headers import IPV6_FRAGMENT, IPV6_OPTIONS
from vpngate.signatures.libpcap import (
    IPV4_HEADER_SIZE,
    IPV6_TRANSPORT,
    Location,
    ipv4_transport,
    within,
)

_BYTES = range(256)


def prefilter(
    family: Family, transport: Transport, signatures: Sequence[Signature]
) -> str | None:
    """Returns an expression that every match of a family passes, None if it helps not.

    An IPv6 packet that begins with extension headers always passes, with a fragment
    header if a signature takes fragments. An empty TCP segment never does, whatever
    Ethernet's padding behind it looks like.
    """
    if not transport.has_ports:
        return None
    bytes_ = _runs(_first_bytes(signatures))
    ports = _runs({port for signature in signatures for port in signature.ports})
    if bytes_ == [(_BYTES[0], _BYTES[-1])]:
        return None

    def direct(header: Location, length: str, before: str = "") -> str:
        payload = header.payload(transport).load(0)
        tests = [within(payload, *run) for run in bytes_]
        tests += [within(header.load(end, 2), *r) for r in ports for end in (0, 2)]
        test = f"({' or '.join(tests)})"
        if transport is Transport.TCP:
            # The IP header promises more than the headers themselves.
            return f"{length} > {before}{header.tcp_header_size()} and {test}"
        return test

    if family is Family.IPV4:
        header = ipv4_transport(transport)
        test = direct(header, "ip[2:2]", f"{IPV4_HEADER_SIZE} + ")
        return f"ip and ip[9] = {transport:d} and {test}"
    test = direct(IPV6_TRANSPORT, "ip6[4:2]")
    passing = [*IPV6_OPTIONS]
    if any(signature.fragments for signature in signatures):
        passing.append(IPV6_FRAGMENT)
    chained = " or ".join(f"ip6[6] = {header}" for header in passing)
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
