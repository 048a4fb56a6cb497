# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of the classic packet filter (bpf(4)), put together to one.

Knows which instructions read the packet, how programs are joined, moved behind a link
layer, or put behind one another, and how they are written as bytes; does not know what
any of them looks for.
"""

from array import array
from collections.abc import Iterable, Sequence
from itertools import starmap
from struct import Struct

from vpngate.link_layers import Check, Layout

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand
Program = Sequence[Instruction]

_CLASS, _LD, _LDX = 0x07, 0x00, 0x01
_MODE, _ABSOLUTE, _INDIRECT, _HEADER_LENGTH = 0xE0, 0x20, 0x40, 0xA0
_READS_PACKET = frozenset(
    code
    for code in range(1 << 8)
    if code & _CLASS in (_LD, _LDX)
    and code & _MODE in (_ABSOLUTE, _INDIRECT, _HEADER_LENGTH)
)
_LOAD_BY_SIZE = {1: 0x30, 2: 0x28, 4: 0x20}  # ldb, ldh, ld [k]
_JUMP, JUMP_IF_EQUAL = 0x05, 0x15
_RETURN = 0x06
_BYTES = Struct("=HBBI")  # struct bpf_insn: two words, the second one is the operand
REJECT: Instruction = (_RETURN, 0, 0, 0)
ACCEPT: Instruction = (_RETURN, 0, 0, 1)


def assembled(parts: Iterable[tuple[Layout, Program]]) -> list[Instruction]:
    """Returns one program that passes what any of these passes in its layout."""
    whole: list[Instruction] = []
    for (checks, start), inner in parts:
        whole += _guards(checks, len(inner))
        whole += _moved(inner, start)
    return [*whole, REJECT]


def packed(program: Program) -> bytes:
    """A program as the kernel and libpcap take it."""
    return b"".join(starmap(_BYTES.pack, program))


def unpacked(program: bytes) -> list[Instruction]:
    """The program that is packed in these bytes."""
    return list(_BYTES.iter_unpack(program))


def packed_behind(layouts: Iterable[Layout], inner: Program) -> bytes:
    """What `assembled` makes of one program in several layouts, packed.

    It is packed once: from one layout to the next only some operands differ.
    """
    words = array("I", packed(inner))
    moving = [2 * at + 1 for at, one in enumerate(inner) if one[0] in _READS_PACKET]
    whole = bytearray()
    for checks, start in layouts:
        moved = words[:]
        for at in moving:
            moved[at] += start
        whole += packed(_guards(checks, len(inner)))
        whole += moved.tobytes()
    return bytes(whole + packed([REJECT]))


def gated(gate: Program, inner: Program) -> Program:
    """Returns one program that passes what both pass."""
    opened: list[Instruction] = []
    for left, instruction in zip(reversed(range(len(gate))), gate, strict=True):
        passed = instruction[0] == _RETURN and instruction != REJECT
        opened.append((_JUMP, 0, 0, left) if passed else instruction)
    return [*opened, *inner]


def _moved(program: Program, by: int) -> Program:
    """Returns the program for packets that begin so many bytes further on."""
    if not by:
        return program
    moved: list[Instruction] = []
    for instruction in program:
        code, if_true, if_false, operand = instruction
        reads = code in _READS_PACKET
        moved.append((code, if_true, if_false, operand + by) if reads else instruction)
    return moved


def _guards(checks: Sequence[Check], guarded: int) -> list[Instruction]:
    """Returns what skips so many instructions behind it unless all checks are met."""
    guards: list[Instruction] = []
    for at, size, values in reversed(checks):
        # Conditional jumps reach 255 instructions, too few for what they skip.
        skip: Instruction = (_JUMP, 0, 0, len(guards) + guarded)
        comparisons: list[Instruction] = [
            (JUMP_IF_EQUAL, len(values) - number, 0, int.from_bytes(value))
            for number, value in enumerate(sorted(values))
        ]
        guards = [(_LOAD_BY_SIZE[size], 0, 0, at), *comparisons, skip, *guards]
    return guards


def chained(programs: Sequence[Program]) -> Program:
    """Returns one program that passes what any of these passes."""
    if not programs:
        return []
    *earlier, last = programs
    joined: list[Instruction] = []
    for program in earlier:
        left = len(program)
        for instruction in program:
            left -= 1
            rejected = instruction == REJECT
            joined.append((_JUMP, 0, 0, left) if rejected else instruction)
    return [*joined, *last]
