# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs classic BPF programs (bpf(4)) and counts instructions, which no load bends.

Knows the instructions that libpcap writes for filters without arithmetic beyond a
header's length; anything else is an error.
"""

from collections.abc import Callable, Sequence

from vpngate.capture.classic_bpf import Instruction

_SIZES = {0x00: 4, 0x08: 2, 0x10: 1}
_WORD = 0xFFFFFFFF
_ARITHMETIC: dict[int, Callable[[int, int], int]] = {
    0x00: lambda a, b: a + b & _WORD,
    0x10: lambda a, b: a - b & _WORD,
    0x50: lambda a, b: a & b,
    0x60: lambda a, b: a << b & _WORD,
    0x70: lambda a, b: a >> b,
}
_TESTS: dict[int, Callable[[int, int], bool]] = {
    0x10: lambda a, b: a == b,
    0x20: lambda a, b: a > b,
    0x30: lambda a, b: a >= b,
    0x40: lambda a, b: bool(a & b),
}


def run(program: Sequence[Instruction], frame: bytes) -> tuple[bool, int]:
    """Whether a program passes a frame, and how many instructions that took."""
    a = x = at = taken = 0
    memory: dict[int, int] = {}
    while True:
        code, if_true, if_false, k = program[at]
        at, taken = at + 1, taken + 1
        match code & 0x07:
            case 0x00 | 0x01 as register:
                value = _loaded(frame, code, k, x, memory)
                if value is None:
                    return False, taken
                a, x = (a, value) if register else (value, x)
            case 0x02 | 0x03 as register:
                memory[k] = a if register == 0x02 else x
            case 0x04:
                a = _ARITHMETIC[code & 0xF0](a, x if code & 0x08 else k)
            case 0x05:
                at += _jumped(code, a, x, (if_true, if_false, k))
            case 0x06:
                return bool(k), taken
            case 0x07:
                a, x = (x, x) if code & 0xF8 else (a, a)


def _loaded(
    frame: bytes, code: int, k: int, x: int, memory: dict[int, int]
) -> int | None:
    """What a load brings; None where the frame ends before it."""
    mode = code & 0xE0
    if mode == 0x60:
        return memory[k]
    if mode == 0x00:
        return k
    place = {0x20: k, 0x40: x + k, 0xA0: k}[mode]
    size = 1 if mode == 0xA0 else _SIZES[code & 0x18]
    if place + size > len(frame):
        return None
    value = int.from_bytes(frame[place : place + size])
    return (value & 0x0F) * 4 if mode == 0xA0 else value


def _jumped(code: int, a: int, x: int, where: tuple[int, int, int]) -> int:
    """How many instructions a jump passes over."""
    if_true, if_false, always = where
    if not code & 0xF0:
        return always
    holds = _TESTS[code & 0xF0](a, x if code & 0x08 else always)
    return if_true if holds else if_false
