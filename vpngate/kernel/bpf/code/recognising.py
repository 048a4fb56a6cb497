# SPDX-License-Identifier: GPL-2.0-or-later
"""Signatures as instructions: the fourth of their compilers.

Knows how to tell, behind `finding.py`, which signature a packet matches, and how to be
done with ordinary traffic after the few bytes that it has where they can be read at
once; does not know what becomes of a candidate.

It is asked twice. First (`sift`) with what costs next to nothing: ports, what UDP
says is the length, the payload's first word. One packet in some hundred comes through,
and of it a window of the payload is copied to the stack, where every shape of every
signature is compared in full, one after the other (`_compare_all`).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from vpngate.kernel.bpf.assembly import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    STACK,
    Assembly,
    Context,
    Register,
)
from vpngate.kernel.bpf.code.finding import (
    FRAGMENT,
    HEADER_AT,
    LATER,
    copy,
    load_ends,
)
from vpngate.kernel.bpf.code.sifting import WORD, sift, signed, within
from vpngate.packets import Transport
from vpngate.signatures import Field, Shape, Signature, headers

# On the stack, from its end: what `finding.py` keeps, here a transport header, a
# payload's first word and a header's size; others' room; the ports and the length that
# UDP says, as numbers, and how much of the payload is in the window; the window.
#
# None of these numbers is at a multiple of eight, and each is loaded anew where it is
# asked for. So the verifier does not know what has been found out about one of them,
# and has not to look at what follows once for each answer: a tenth of the time.
_HEAD_AT, _WORD_AT, _SIZE_AT = HEADER_AT, HEADER_AT + 16, HEADER_AT + 24
_SOURCE_PORT_AT, _DESTINATION_PORT_AT, _LENGTH_AT, _THERE_AT = -102, -100, -98, -94
_WINDOW_END = -104
# What is needed of a transport's header to know its numbers.
_HEAD = {
    Transport.UDP: headers.UDP_LENGTH_AT + 2,
    Transport.TCP: headers.TCP_DATA_OFFSET_AT + 1,
}
_SHORTEST = {
    Transport.UDP: headers.UDP_HEADER,
    Transport.TCP: min(headers.TCP_HEADERS),
}

_Numbered = Sequence[tuple[int, Signature]]


class Exits(NamedTuple):
    """The labels that a search ends at."""

    candidate: str
    nothing: str


def by_order(signatures: Iterable[Signature]) -> list[Signature]:
    """As they are compared; the first that matches is what a packet is.

    Those that ask for a port and the sampled ones are last: a handshake is not theirs.
    """
    return sorted(signatures, key=lambda one: (one.sampled, bool(one.ports)))


def recognise(code: Assembly, signatures: Sequence[Signature], exits: Exits) -> None:
    """From what was found to one of the exits.

    To the candidate's, R8 being the signature's number in the sequence, and R7 where
    the payload begins.
    """
    code.jump("&", R9, LATER, exits.nothing)
    transports = sorted({one.transport for one in signatures})
    for transport in transports:
        code.jump("==", R8, transport, f"search {transport.label}")
    code.goto(exits.nothing)
    for transport in transports:
        ours = [
            (number, one)
            for number, one in enumerate(signatures)
            if one.transport is transport
        ]
        code.label(f"search {transport.label}")
        if transport.has_ports:
            _look(code, transport, [one for _, one in ours], exits.nothing)
        _compare_all(code, ours, exits)


def _look(
    code: Assembly, transport: Transport, ours: Sequence[Signature], nothing: str
) -> None:
    """Go on only with what is worth it; its numbers are on the stack then.

    R7 becomes where the payload begins. What is not in one piece with the packet's
    beginning, as a payload that the interface left apart, is read by a copy.
    """
    sifting, apart, far, worth_it = (code.fresh() for _ in range(4))
    load_ends(code)
    code.compute("+", R4, R7).set(R1, R4).compute("+", R1, _SHORTEST[transport])
    code.jump(">", R1, R3, far)
    _payload_at(code, transport, R4, 0, nothing)
    code.set(R0, R4).compute("+", R0, R5).compute("+", R0, WORD)
    code.jump(">", R0, R3, apart).load(WORD, R0, R0, -WORD)
    _load_numbers(code, transport, R4, 0)
    code.compute("+", R7, R5).goto(sifting)

    code.label(apart).load(4, R0, R6, Context.LENGTH).set(R1, R7).compute("+", R1, R5)
    code.jump(">=", R1, R0, far if transport is Transport.UDP else nothing)
    code.compute("+", R1, WORD).jump(">", R1, R0, far)
    code.store(8, STACK, _SIZE_AT, R5)
    code.compute("-", R1, WORD)
    copy(code, (R1, WORD), _WORD_AT, nothing)
    load_ends(code)
    code.compute("+", R4, R7).set(R1, R4).compute("+", R1, _SHORTEST[transport])
    code.jump(">", R1, R3, nothing)
    _load_numbers(code, transport, R4, 0)
    code.load(8, R5, STACK, _SIZE_AT).compute("+", R7, R5)
    code.load(WORD, R0, STACK, _WORD_AT)
    code.label(sifting)
    sift(code, ours, worth_it, nothing)

    code.label(far)
    copy(code, (R7, _HEAD[transport]), _HEAD_AT, nothing)
    _payload_at(code, transport, STACK, _HEAD_AT, nothing)
    code.compute("+", R7, R5)
    _load_numbers(code, transport, STACK, _HEAD_AT)
    code.label(worth_it)
    code.store(2, STACK, _SOURCE_PORT_AT, R1).store(2, STACK, _DESTINATION_PORT_AT, R2)
    if transport is Transport.UDP:
        code.store(2, STACK, _LENGTH_AT, R3)


def _payload_at(
    code: Assembly, transport: Transport, base: Register, at: int, nothing: str
) -> None:
    """R5 becomes the header's size."""
    if transport is Transport.UDP:
        code.set(R5, headers.UDP_HEADER)
        return
    code.load(1, R5, base, at + headers.TCP_DATA_OFFSET_AT).compute(">>", R5, 4)
    code.compute("<<", R5, 2).jump("<", R5, min(headers.TCP_HEADERS), nothing)


def _load_numbers(
    code: Assembly, transport: Transport, base: Register, at: int
) -> None:
    """R1 and R2 become the ports, R3 the length that UDP says."""
    code.load(2, R1, base, at).to_network(R1, 16)
    code.load(2, R2, base, at + 2).to_network(R2, 16)
    if transport is Transport.UDP:
        code.load(2, R3, base, at + headers.UDP_LENGTH_AT).to_network(R3, 16)


def _compare_all(code: Assembly, ours: _Numbered, exits: Exits) -> None:
    """Compare a window of the payload with every shape, in full."""
    reach = max(_reach(shape) for _, one in ours for shape in one.shapes)
    size = max(8, -(-reach // 8) * 8)
    base = _WINDOW_END - size
    _fill(code, base, size, exits.nothing)
    for number, one in ours:
        after, matches = code.fresh(), code.fresh()
        if not one.fragments:
            code.jump("&", R9, FRAGMENT, after)
        if one.ports:
            to_one = code.fresh()
            for at in (_SOURCE_PORT_AT, _DESTINATION_PORT_AT):
                code.load(2, R1, STACK, at)
                within(code, R1, one.port_ranges, to_one)
            code.goto(after).label(to_one)
        for shape in one.shapes:
            _compare(code, shape, base, matches)
        code.goto(after).label(matches).set(R8, number).goto(exits.candidate)
        code.label(after)
    code.goto(exits.nothing)


def _fill(code: Assembly, base: int, size: int, nothing: str) -> None:
    """The window becomes what there is of the payload, and THERE how much that is."""
    some, filled = code.fresh(), code.fresh()
    for at in range(base, base + size, 8):
        code.store(8, STACK, at, 0)
    code.store(2, STACK, _THERE_AT, 0)
    code.load(4, R4, R6, Context.LENGTH).jump(">=", R7, R4, filled)
    code.compute("-", R4, R7).jump("<=", R4, size, some).set(R4, size).label(some)
    code.jump("<", R4, 1, nothing).store(2, STACK, _THERE_AT, R4)
    copy(code, (R7, R4), base, nothing)
    code.label(filled)


def _compare(code: Assembly, shape: Shape, base: int, matches: str) -> None:
    """Go to `matches` if the shape fits the window."""
    differs = code.fresh()
    if shape.lengths:
        fits = code.fresh()
        code.load(2, R3, STACK, _LENGTH_AT)
        within(code, R3, shape.udp_lengths, fits)
        code.goto(differs).label(fits)
    if shape.fields:
        code.load(2, R5, STACK, _THERE_AT).jump("<", R5, _reach(shape), differs)
    compare_fields(code, shape.fields, base, differs)
    code.goto(matches).label(differs)


def compare_fields(
    code: Assembly, fields: Sequence[Field], base: int, differs: str
) -> None:
    """Go to `differs` unless all hold in a payload on the stack; R0 is used."""
    for field in fields:
        other = code.fresh()
        for at, value, mask in _pieces(field):
            size = len(value)
            code.load(size, R0, STACK, base + at)
            if mask.strip(b"\xff"):
                bits = int.from_bytes(mask, "little")
                code.compute("&", R0, signed(bits), 32)
            number = signed(int.from_bytes(value, "little"))
            code.jump("!=", R0, number, other if field.differs else differs, 32)
        if field.differs:
            code.goto(differs).label(other)


def _pieces(field: Field) -> Iterator[tuple[int, bytes, bytes]]:
    """Places, values and masks of 4, 2 and 1 bytes, as the stack has to be read."""
    mask = field.mask or b"\xff" * len(field.value)
    at, end = field.offset, field.end
    while at < end:
        size = next(n for n in (4, 2, 1) if at % n == 0 and at + n <= end)
        part = slice(at - field.offset, at - field.offset + size)
        if any(mask[part]):
            yield at, field.value[part], mask[part]
        at += size


def _reach(shape: Shape) -> int:
    """How far into a payload a shape looks, bytes."""
    return max((field.end for field in shape.fields), default=0)
