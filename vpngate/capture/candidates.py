# SPDX-License-Identifier: GPL-2.0-or-later
"""The packet filter that picks the candidates out of a capture, for any link type.

Knows classic BPF programs (bpf(4)) as libpcap compiles them; does not know which
signatures the filter's text came from. libpcap's own words for tags (`vlan`,
`pppoes`) move every offset behind them for good, so that "with or without a tag"
cannot be written with them. Instead the text is compiled once, for packets that
start at their IP header, and that program is put behind each layout of a link
layer with its offsets moved.
"""

from collections.abc import Callable
from functools import cache

import cypcap

from vpngate.errors import MissingFeature
from vpngate.links import LAYOUTS, Check, LinkType

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand
Matcher = Callable[[bytes], bool]

_CLASS, _LD, _LDX = 0x07, 0x00, 0x01
_MODE, _ABSOLUTE, _INDIRECT, _HEADER_LENGTH = 0xE0, 0x20, 0x40, 0xA0
_OFFSET_MODES = frozenset({_ABSOLUTE, _INDIRECT, _HEADER_LENGTH})
_LOAD_BY_SIZE = {1: 0x30, 2: 0x28, 4: 0x20}  # ldb, ldh, ld [k]
_JUMP, _JUMP_IF_EQUAL = 0x05, 0x15
_REJECT: Instruction = (0x06, 0, 0, 0)

_WHOLE_PACKET = 65535  # bytes to keep of a match


class CandidateFilter:
    """A libpcap filter expression, compiled for the link types it is asked for.

    The expression is about IP packets (`ip`, `ip6` and what is in them) and says
    nothing of link layers. Raises MissingFeature if libpcap rejects it.
    """

    def __init__(self, expression: str) -> None:
        dead = cypcap.open_dead(LinkType.RAW_DLT, _WHOLE_PACKET)
        try:
            self._program: list[Instruction] = list(dead.compile(expression))
        except cypcap.Error as error:
            raise MissingFeature(
                f"libpcap: cannot compile the candidates' filter ({error}); "
                "install the version of cypcap that pyproject.toml names"
            ) from error
        self.matcher = cache(self._matcher)

    def instructions(self, link_type: int) -> list[Instruction] | None:
        """The program for frames of a link type, None where it cannot be written."""
        layouts = LAYOUTS.get(link_type)
        if layouts is None:
            return None
        program: list[Instruction] = []
        for checks, start in layouts:
            inner = [_moved(instruction, start) for instruction in self._program]
            for check in reversed(checks):
                inner = _guarded(check, inner)
            program += inner
        return [*program, _REJECT]

    def program(self, link_type: int) -> "cypcap.BpfProgram | None":
        """The same as libpcap takes it."""
        instructions = self.instructions(link_type)
        if instructions is None:
            return None
        lines = (" ".join(map(str, instruction)) for instruction in instructions)
        return cypcap.BpfProgram.loads(",".join([str(len(instructions)), *lines]))

    def _matcher(self, link_type: int) -> Matcher:
        """Whether a frame may hold a candidate; where nobody can tell, it may."""
        program = self.program(link_type)
        if program is None:
            return lambda _: True
        header = cypcap.Pkthdr()
        match = program.offline_filter

        def matches(frame: bytes) -> bool:
            header.caplen = header.len = len(frame)
            return bool(match(header, frame))

        return matches


def _moved(instruction: Instruction, by: int) -> Instruction:
    """The instruction, reading the packet that many bytes further on."""
    code, if_true, if_false, operand = instruction
    reads_packet = code & _CLASS in (_LD, _LDX) and code & _MODE in _OFFSET_MODES
    return code, if_true, if_false, operand + by if reads_packet else operand


def _guarded(check: Check, inner: list[Instruction]) -> list[Instruction]:
    """`inner`, skipped unless the check holds."""
    values = sorted(check.values)
    # Conditional jumps reach 255 instructions, too few for what they skip.
    skip: Instruction = (_JUMP, 0, 0, len(inner))
    tests: list[Instruction] = [
        (_JUMP_IF_EQUAL, len(values) - number, 0, int.from_bytes(value))
        for number, value in enumerate(values)
    ]
    return [(_LOAD_BY_SIZE[check.size], 0, 0, check.at), *tests, skip, *inner]
