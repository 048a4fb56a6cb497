# SPDX-License-Identifier: GPL-2.0-or-later
"""Instructions of eBPF as data: put together, jumps resolved, the unreachable dropped.

Knows the instruction set (RFC 9669) as far as it is needed; does not know what a
program is for. A register is a `Register`, where a number is a number.

    code = Assembly()
    code.load(4, R0, R1, 16).jump("!=", R0, 8, "out") ... .label("out").exit(0)
"""

import struct
from enum import IntEnum
from itertools import count
from typing import NamedTuple, Self

from vpngate.kernel.bpf.maps import Map
from vpngate.kernel.bpf.syscall import Helper


class Register(int):
    """Where a program works.

    R0 takes results, R1 to R5 arguments; R6 to R9 survive calls; STACK is the end of
    512 bytes.
    """


R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, STACK = map(Register, range(11))

_SIZES = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
_ARITHMETIC = {
    "+": 0x00,
    "-": 0x10,
    "*": 0x20,
    "/": 0x30,
    "|": 0x40,
    "&": 0x50,
    "<<": 0x60,
    ">>": 0x70,
    "%": 0x90,
    "^": 0xA0,
    "=": 0xB0,
}
# Without a sign; "&" jumps where they share a bit.
_JUMPS = {
    "==": 0x10,
    ">": 0x20,
    ">=": 0x30,
    "&": 0x40,
    "!=": 0x50,
    "<": 0xA0,
    "<=": 0xB0,
}
_LOAD, _STORE, _STORE_NUMBER, _ATOMIC = 0x61, 0x63, 0x62, 0xC3
_WIDE, _GOTO, _CALL, _EXIT, _TO_BIG_ENDIAN = 0x18, 0x05, 0x85, 0x95, 0xDC
_BY_REGISTER = 0x08
_ALU = {32: 4, 64: 7}
_JUMP = {32: 6, 64: 5}
_COMPARE_AND_EXCHANGE = 0xF1
_MAP, _MAP_VALUE = 1, 2  # BPF_PSEUDO_*: what a wide constant stands for
_LAYOUT = struct.Struct("=BBhI")
_FARTHEST = 1 << 15  # instructions that a jump passes over


class BpfInstruction(NamedTuple):
    """One of eight bytes; `to` is the label that it jumps to."""

    code: int
    target: int = 0
    source: int = 0
    offset: int = 0
    number: int = 0
    to: str = ""


class Assembly:
    """A program that grows; each method appends to it and returns it."""

    def __init__(self) -> None:
        self._written: list[BpfInstruction] = []
        self._labels: dict[str, int] = {}
        self._fresh = count()

    def fresh(self) -> str:
        """A label that nothing else has."""
        return f".{next(self._fresh)}"

    def label(self, name: str) -> Self:
        """What comes next is what jumps to that name lead to."""
        if name in self._labels:
            raise ValueError(f"there are two of the label {name}")
        self._labels[name] = len(self._written)
        return self

    def set(self, target: Register, value: Register | int) -> Self:
        """The target becomes a register's value, or a number's."""
        if isinstance(value, Register) or -(1 << 31) <= value < 1 << 31:
            return self.compute("=", target, value)
        return self.wide(target, value)

    def wide(self, target: Register, value: int) -> Self:
        """The target becomes a number of 64 bits."""
        return self._wide(target, value)

    def compute(
        self, how: str, target: Register, value: Register | int, bits: int = 64
    ) -> Self:
        """The target changes by a register's value, or by a number's.

        With 32 bits, its upper half becomes zero. A number has 32 bits, and a sign.
        """
        code = _ARITHMETIC[how] | _ALU[bits]
        if isinstance(value, Register):
            return self._add(BpfInstruction(code | _BY_REGISTER, target, value))
        return self._add(BpfInstruction(code, target, number=value))

    def load(self, size: int, target: Register, base: Register, at: int) -> Self:
        """1, 2, 4 or 8 bytes from there, in the machine's order; zero above."""
        return self._add(BpfInstruction(_LOAD | _SIZES[size], target, base, at))

    def store(self, size: int, base: Register, at: int, value: Register | int) -> Self:
        """The lower bytes of a value go there."""
        code = _SIZES[size]
        if isinstance(value, Register):
            return self._add(BpfInstruction(_STORE | code, base, value, at))
        return self._add(BpfInstruction(_STORE_NUMBER | code, base, 0, at, value))

    def add_at(self, base: Register, at: int, value: Register, size: int = 8) -> Self:
        """What is there grows by a value, whoever else adds at the same time."""
        return self._add(BpfInstruction(_ATOMIC | _SIZES[size], base, value, at))

    def exchange_if_same(self, base: Register, at: int, value: Register) -> Self:
        """The 8 bytes there become `value` if they are R0's; R0: what they were."""
        code = _ATOMIC | _SIZES[8]
        return self._add(BpfInstruction(code, base, value, at, _COMPARE_AND_EXCHANGE))

    def to_network(self, target: Register, bits: int) -> Self:
        """From network order to a number, or back; 16, 32 or 64 bits."""
        return self._add(BpfInstruction(_TO_BIG_ENDIAN, target, number=bits))

    def jump(
        self, when: str, left: Register, right: Register | int, to: str, bits: int = 64
    ) -> Self:
        """Go on at a label where the comparison holds."""
        code = _JUMPS[when] | _JUMP[bits]
        if isinstance(right, Register):
            return self._add(BpfInstruction(code | _BY_REGISTER, left, right, to=to))
        return self._add(BpfInstruction(code, left, number=right, to=to))

    def goto(self, to: str) -> Self:
        """Go on at a label."""
        return self._add(BpfInstruction(_GOTO, to=to))

    def call(self, helper: Helper) -> Self:
        """Have the kernel do something; R1 to R5 are gone then, R0 is its answer."""
        return self._add(BpfInstruction(_CALL, number=helper))

    def exit(self, value: int | None = None) -> Self:
        """The program's end, with what R0 has, or with a number."""
        if value is not None:
            self.set(R0, value)
        return self._add(BpfInstruction(_EXIT))

    def map(self, target: Register, of: Map) -> Self:
        """The target is that map, as helpers take it."""
        return self._wide(target, of.descriptor, _MAP)

    def map_value(self, target: Register, of: Map, at: int = 0) -> Self:
        """The target points into the first value of an array, without a look-up."""
        return self._wide(target, at << 32 | of.descriptor, _MAP_VALUE)

    def __len__(self) -> int:
        return len(self._written)

    def assembled(self) -> bytes:
        """The program as the kernel takes it.

        Without what cannot be reached, which the verifier would refuse. ValueError for
        a jump to nowhere, or too far.
        """
        order = self._reachable()
        place = {at: number for number, at in enumerate(order)}
        packed = bytearray()
        for number, at in enumerate(order):
            code, target, source, offset, value, to = self._written[at]
            if to:
                offset = place[self._labels[to]] - number - 1
                if not -_FARTHEST <= offset < _FARTHEST:
                    raise ValueError(f"the jump to {to} is too far")
            packed += _LAYOUT.pack(
                code, target | source << 4, offset, value & 0xFFFFFFFF
            )
        return bytes(packed)

    def _reachable(self) -> list[int]:
        found: set[int] = set()
        beginnings = [0]
        while beginnings:
            at = beginnings.pop()
            while at not in found:
                if at == len(self._written):
                    raise ValueError("the program runs past its end")
                found.add(at)
                instruction = self._written[at]
                if instruction.to:
                    if instruction.to not in self._labels:
                        raise ValueError(f"there is no label {instruction.to}")
                    beginnings.append(self._labels[instruction.to])
                if instruction.code in (_EXIT, _GOTO):
                    break
                at += 1
        return sorted(found)

    def _wide(self, target: Register, value: int, stands_for: int = 0) -> Self:
        low, high = value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF
        self._add(BpfInstruction(_WIDE, target, stands_for, number=low))
        return self._add(BpfInstruction(0, number=high))

    def _add(self, instruction: BpfInstruction) -> Self:
        self._written.append(instruction)
        return self


class ActionCode(IntEnum):
    """What a classifier returns (TC_ACT_*)."""

    NEXT = -1  # others are asked, too; with none the packet goes on
    DROP = 2
    REDIRECT = 7


class Context(IntEnum):
    """Where fields stand in struct __sk_buff, of 4 bytes if nothing else is said."""

    LENGTH = 0
    PACKET_TYPE = 4  # PACKET_*: whom it is for
    MARK = 8
    PROTOCOL = 16  # in network order
    VLAN_PRESENT = 20
    PRIORITY = 32
    CAME_BY = 36
    INTERFACE = 40
    TC_INDEX = 44
    SCRATCH = 48  # five words that live from one program to the next
    FLOW_HASH = 68  # the kernel's number of the flow, 0 if it has none yet
    DATA = 76
    DATA_END = 80
    TIMESTAMP = 152  # 8 bytes
    TIMESTAMP_TYPE = 180  # a byte
