# SPDX-License-Identifier: GPL-2.0-or-later
"""A cheap first look at a packet, before the whole filter of a transport.

Knows which first payload bytes, lengths and ports the signatures of a transport leave
possible, and how to ask for them in a libpcap expression; does not know the rest of
a signature. Nearly all traffic goes no further than this, so every instruction that it
takes is felt in a capture of millions of packets.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from vpngate.packets import Family, Transport
from vpngate.signatures import Shape, Signature
from vpngate.signatures.headers import IPV6_FRAGMENT, IPV6_OPTIONS, UDP_LENGTH_AT
from vpngate.signatures.libpcap import (
    IPV4_HEADER_SIZE,
    IPV6_TRANSPORT,
    Location,
    ipv4_transport,
    within,
)

_BYTES = range(256)
_ALL_BITS = 0xFF
_BITS = tuple(1 << place for place in range(8))
# Our own choice, in bytes as a UDP header states them: most handshakes are shorter, and
# most packets that carry data are longer, which few first bytes then leave possible.
_SHORT = 256
_MANY_RUNS = 3  # of ports: to ask for both ends first takes no longer than for these


def prefilter(
    family: Family, transport: Transport, signatures: Sequence[Signature]
) -> str:
    """Returns an expression that every match of a family passes.

    An IPv6 packet that begins with extension headers always passes, with a fragment
    header if a signature takes fragments. An empty TCP segment never does, whatever
    Ethernet's padding behind it looks like.
    """
    if family is Family.IPV4:
        header = ipv4_transport(transport)
        test = _test(transport, signatures, header)
        if transport is Transport.TCP:
            # The IP header promises more than the headers themselves.
            size = header.tcp_header_size()
            test = f"{test} and ip[2:2] > {IPV4_HEADER_SIZE} + {size}"
        return f"ip and ip[9] = {transport:d}{test}"
    test = _test(transport, signatures, IPV6_TRANSPORT)
    if transport is Transport.TCP:
        test = f"{test} and ip6[4:2] > {IPV6_TRANSPORT.tcp_header_size()}"
    passing = [*IPV6_OPTIONS]
    if any(signature.fragments for signature in signatures):
        passing.append(IPV6_FRAGMENT)
    chained = " or ".join(f"ip6[6] = {header}" for header in passing)
    return f"ip6 and ({chained} or (ip6[6] = {transport:d}{test}))"


def _test(
    transport: Transport, signatures: Sequence[Signature], header: Location
) -> str:
    """What else is asked of a packet of the transport: " and ...", or nothing."""
    starts = _first_bytes(signatures)
    if not transport.has_ports or len(starts) == len(_BYTES):
        return ""
    first = header.payload(transport).load(0)
    runs = _runs({port for s in signatures for port in s.ports})
    tests = [test for end in (0, 2) for test in _in_runs(header.load(end, 2), runs)]
    lasting = _first_bytes(signatures, longer_than=_SHORT)
    if transport is Transport.TCP or lasting == starts:
        tests += _among(first, starts)
    else:
        short = f"{header.load(UDP_LENGTH_AT, 2)} <= {_SHORT}"
        fits = _any([short, *_among(first, lasting)])
        tests.append(f"({_any(_among(first, starts))} and {fits})")
    return f" and {_any(tests)}"


def possible_first_bytes(signatures: Iterable[Signature]) -> set[int]:
    """The first payload bytes of matches, whatever their ports and lengths."""
    shapes = (shape for signature in signatures for shape in signature.shapes)
    return _meeting_any(map(_start, shapes))


def masked(bytes_: set[int]) -> Iterator[tuple[int, int]]:
    """Few values and masks that together fit these bytes and no others."""
    left = set(bytes_)
    while left:
        fitting, mask = {min(left)}, _ALL_BITS
        for bit in _BITS:
            wider = fitting | {byte ^ bit for byte in fitting}
            if wider <= bytes_:
                fitting, mask = wider, mask ^ bit
        yield min(fitting), mask
        left -= fitting


def _first_bytes(signatures: Iterable[Signature], longer_than: int = 0) -> set[int]:
    """The first payload bytes of matches on any port.

    Of UDP, those of matches whose header states more than so many bytes.
    """
    return _meeting_any(
        _start(shape)
        for signature in signatures
        if not signature.ports
        for shape in signature.shapes
        if not shape.lengths or any(b > longer_than for _, b in shape.udp_lengths)
    )


def _meeting_any(starts: Iterable[frozenset[tuple[int, int]]]) -> set[int]:
    """The bytes that meet one of them: few, however many shapes begin so."""
    return set().union(*map(_meeting, set(starts)))


@cache
def _meeting(start: frozenset[tuple[int, int]]) -> frozenset[int]:
    """The bytes that meet all of these values and masks."""
    meeting: Iterable[int] = _BYTES
    for value, mask in start:
        meeting = [byte for byte in meeting if byte & mask == value]
    return frozenset(meeting)


def _start(shape: Shape) -> frozenset[tuple[int, int]]:
    """Values and masks that the first byte of a shape has to meet."""
    return frozenset(
        (field.value[0], (field.mask or b"\xff")[0])
        for field in shape.fields
        if field.offset == 0 and not field.differs
    )


def _among(term: str, bytes_: set[int]) -> Iterator[str]:
    """Conditions of which one holds if the term is one of some bytes."""
    for value, mask in masked(bytes_):
        yield f"{term} = {value}" if mask == _ALL_BITS else f"{term} & {mask} = {value}"


def _in_runs(term: str, runs: Sequence[tuple[int, int]]) -> list[str]:
    """Conditions of which one holds if the term is in one of some ranges, in order.

    Of many they are asked only where it is neither below nor above all of them, as most
    ports are.
    """
    each = [within(term, *run) for run in runs]
    if len(runs) < _MANY_RUNS:
        return each
    return [f"({within(term, runs[0][0], runs[-1][1])} and {_any(each)})"]


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """The numbers as inclusive ranges."""
    return list(_adjacent(sorted(numbers)))


def _adjacent(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    first = 0
    for at, number in enumerate(numbers):
        if at + 1 == len(numbers) or numbers[at + 1] != number + 1:
            yield numbers[first], number
            first = at + 1


def _any(tests: Iterable[str]) -> str:
    return f"({' or '.join(tests)})"
