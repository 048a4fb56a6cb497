# SPDX-License-Identifier: GPL-2.0-or-later
"""What of the traffic is worth a closer look, told by next to nothing.

Knows what signatures have in common in ports, in the length that UDP says and in a
payload's first word; does not know where these are loaded from. It may say yes too
often, never no to what matches: the lengths come before the word, so that traffic
whose first bytes are anything (QUIC) is done with soon.
"""

from collections.abc import Iterable, Sequence

from vpngate.kernel.bpf.assembly import (
    R0,
    R1,
    R2,
    R3,
    R5,
    Assembly,
    Register,
)
from vpngate.signatures import Shape, Signature

WORD = 4
_BYTES = 1 << 8

Ranges = Sequence[tuple[int, int]]


def sift(
    code: Assembly, ours: Sequence[Signature], worth_it: str, nothing: str
) -> None:
    """Tell by numbers and the payload's first word, R0, what is worth a closer look."""
    ranges = {those for one in ours for those in one.port_ranges}
    for port in (R1, R2):
        within(code, port, sorted(ranges), worth_it)
    shapes = [shape for one in ours if not one.ports for shape in one.shapes]
    choices = [
        tuple(n for n, one in enumerate(shapes) if _may_begin(one, byte))
        for byte in range(_BYTES)
    ]
    borders = [b for b in range(_BYTES) if not b or choices[b] != choices[b - 1]]
    leaves: dict[tuple[int, ...], str] = {(): nothing}
    code.set(R5, R0).compute("&", R5, _BYTES - 1)

    def halve(those: Sequence[int]) -> None:
        if len(those) == 1:
            choice = choices[those[0]]
            if choice not in leaves:
                leaves[choice] = code.fresh()
            code.goto(leaves[choice])
            return
        middle, upper = len(those) // 2, code.fresh()
        code.jump(">=", R5, those[middle], upper)
        halve(those[:middle])
        code.label(upper)
        halve(those[middle:])

    halve(borders)
    for choice, label in leaves.items():
        if choice:
            code.label(label)
            _tell(code, [shapes[n] for n in choice], worth_it, nothing)


def _tell(code: Assembly, shapes: Sequence[Shape], worth_it: str, nothing: str) -> None:
    """Go on where a length fits one of these shapes, and the first word one of them."""
    if all(shape.lengths for shape in shapes):
        fits = code.fresh()
        within(code, R3, _joined(n for one in shapes for n in one.udp_lengths), fits)
        code.goto(nothing).label(fits)
    words = {_first_word(shape) for shape in shapes}
    if any(not mask for _, mask in words):
        code.goto(worth_it)
        return
    for value, mask in sorted(words):
        code.set(R5, R0).compute("&", R5, signed(mask), 32)
        code.jump("==", R5, signed(value), worth_it, 32)
    code.goto(nothing)


def within(code: Assembly, number: Register, ranges: Ranges, to: str) -> None:
    """Jump where the number is in one of the ranges."""
    for low, high in ranges:
        if low == high:
            code.jump("==", number, low, to)
        else:
            below = code.fresh()
            code.jump("<", number, low, below).jump("<=", number, high, to)
            code.label(below)


def _joined(ranges: Iterable[tuple[int, int]]) -> Ranges:
    joined: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(high, joined[-1][1])
        else:
            joined.append((low, high))
    return joined


def _may_begin(shape: Shape, byte: int) -> bool:
    """Whether a payload of that shape may begin with that byte."""
    return all(
        (byte & mask == field.value[0]) is not field.differs
        for field in shape.fields
        if not field.offset
        for mask in [(field.mask or b"\xff")[0]]
        if not field.differs or len(field.value) == 1
    )


def _first_word(shape: Shape) -> tuple[int, int]:
    """Value and mask of what it fixes of the first four bytes, as they are loaded."""
    value, mask = bytearray(WORD), bytearray(WORD)
    for field in shape.fields:
        if field.differs:
            continue
        bits = field.mask or b"\xff" * len(field.value)
        for at, (one, bit) in enumerate(zip(field.value, bits, strict=True)):
            if field.offset + at < WORD:
                value[field.offset + at] |= one
                mask[field.offset + at] |= bit
    return int.from_bytes(value, "little"), int.from_bytes(mask, "little")


def signed(number: int) -> int:
    """As an instruction's 32 bits have it."""
    return number - (1 << 32) if number >> 31 else number
