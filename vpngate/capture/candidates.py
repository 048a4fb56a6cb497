# SPDX-License-Identifier: GPL-2.0-or-later
"""The packet filter that picks the candidates out of traffic, for any link type.

Knows classic BPF programs (bpf(4)) as libpcap compiles them; does not know any
protocol. libpcap's own words for tags (`vlan`, `pppoes`) move every offset behind
them for good, so that "with or without a tag" cannot be written with them. Instead
an expression is compiled once, for packets that start at their IP header, and that
program is put behind each layout of a link layer with its offsets moved.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, cached_property, lru_cache
from itertools import product
from typing import NamedTuple

import cypcap

from vpngate.capture.prefilter import prefilter
from vpngate.errors import MissingFeature
from vpngate.link_layers import LAYOUTS, Check, Layout, LinkType
from vpngate.packets import Family, Transport
from vpngate.signatures import Signature
from vpngate.signatures.libpcap import filter_for
from vpngate.signatures.portions import in_portions

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand
Program = Sequence[Instruction]
Matcher = Callable[[bytes], bool]

_CLASS, _LD, _LDX = 0x07, 0x00, 0x01
_MODE, _ABSOLUTE, _INDIRECT, _HEADER_LENGTH = 0xE0, 0x20, 0x40, 0xA0
_READS_PACKET = frozenset(
    code
    for code in range(1 << 8)
    if code & _CLASS in (_LD, _LDX)
    and code & _MODE in (_ABSOLUTE, _INDIRECT, _HEADER_LENGTH)
)
_LOAD_BY_SIZE = {1: 0x30, 2: 0x28, 4: 0x20}  # ldb, ldh, ld [k]
_JUMP, _JUMP_IF_EQUAL = 0x05, 0x15
_RETURN = 0x06
_REJECT: Instruction = (_RETURN, 0, 0, 0)

# Our own choice, as measured: fewer, and there are as many texts as shapes; more, and
# libpcap's optimiser takes its time.
_SHAPES_AT_ONCE = 2
_WHOLE_PACKET = 256 << 10  # bytes to keep of a match: more than any packet has


class KernelFilter(NamedTuple):
    """Programs for sockets that together pass a filter's frames.

    Each is for a socket of its own; a frame passes one of them at most, save where
    it cannot be told what transport it holds. If not `exact` they pass more.
    """

    programs: Sequence[Program]
    exact: bool


class _Group(NamedTuple):
    """Signatures of one transport, and what passes of a family."""

    family: Family
    transport: Transport
    signatures: Sequence[Signature]

    @property
    def look(self) -> str:
        # Without ports the whole is as cheap, and tells more.
        return prefilter(*self) if self.transport.has_ports else self._whole

    @property
    def expression(self) -> str:
        if not self.transport.has_ports:
            return self._whole
        return f"({prefilter(*self)}) and ({self._whole})"

    @property
    def portions(self) -> Iterator[str]:
        for portion in in_portions(self.signatures, _SHAPES_AT_ONCE):
            yield filter_for(portion, families=[self.family])

    @property
    def _whole(self) -> str:
        return filter_for(self.signatures, families=[self.family])


class CandidateFilter:
    """What passes one of several libpcap expressions, for each link type.

    `looks` are cheaper expressions, passed by all that passes one of `expressions`, as
    is `gate`, the cheapest of all: nearly all traffic is turned away there. All are
    about IP packets (`ip`, `ip6` and what is in them) and name neither link layers nor
    the frame's length. Several short ones compile much faster than one long one, since
    libpcap's optimiser takes its time, so `portions` may say the same as `expressions`
    in more and shorter ones, several behind each look; what runs out of bytes in one is
    not looked at by those behind it. Raises MissingFeature if libpcap rejects one.
    """

    def __init__(
        self,
        expressions: Iterable[str],
        looks: Iterable[str] | None = None,
        gate: str | None = None,
        portions: Iterable[tuple[str, Iterable[str]]] | None = None,
    ) -> None:
        self._expressions = tuple(expressions)
        self._cheaper = None if looks is None else tuple(looks)
        self._portions = (
            self._programs
            if portions is None
            else [
                _gated(_compiled_once(look), _chained(_compiled(texts)))
                for look, texts in portions
            ]
        )
        self._gate = None if gate is None else _compiled_once(gate)
        self.program = cache(self._program)
        self.matcher = cache(self._matcher)

    @classmethod
    def of(cls, signatures: Iterable[Signature]) -> "CandidateFilter":
        """The filter of what may match a signature."""
        chosen = tuple(signatures)
        transports = sorted({signature.transport for signature in chosen})
        groups = [
            _Group(family, transport, [s for s in chosen if s.transport is transport])
            for family, transport in product(Family, transports)
        ]
        return cls(
            (group.expression for group in groups),
            (group.look for group in groups),
            _any(prefilter(*group) for group in groups),
            ((group.look, group.portions) for group in groups),
        )

    @cached_property
    def _programs(self) -> Sequence[Program]:
        """Of the expressions; made when asked for, as they take longest."""
        return _compiled(self._expressions)

    @cached_property
    def _looks(self) -> Sequence[Program] | None:
        return None if self._cheaper is None else _compiled(self._cheaper)

    def _program(self, link_type: int) -> Program | None:
        """The filter of a link type; None where it cannot be written."""
        layouts = LAYOUTS.get(link_type)
        if layouts is None:
            return None
        whole = _chained(self._portions)
        if self._gate is not None:
            whole = _gated(self._gate, whole)
        return _assembled((layout, whole) for layout in layouts)

    def _matcher(self, link_type: int) -> Matcher:
        """Whether a frame may hold a candidate; where nobody can tell, it may."""
        program = self.program(link_type)
        if program is None:
            return lambda _: True
        header = cypcap.Pkthdr()
        match = cypcap.BpfProgram(list(program)).offline_filter

        def matches(frame: bytes) -> bool:
            header.caplen = header.len = len(frame)
            return bool(match(header, frame))

        return matches

    def kernel_filter(self, link_type: int, most: int) -> KernelFilter:
        """The filter in programs of at most `most` instructions (but see below).

        If an expression alone is longer than that, its cheap look takes its place,
        and if there is none it stays, for the kernel to refuse.
        """
        layouts = LAYOUTS.get(link_type, ())
        whole = _packed(layouts, self._programs, most)
        if self._looks is None or all(len(program) <= most for program in whole):
            return KernelFilter(whole, exact=True)
        return KernelFilter(_packed(layouts, self._looks, most), exact=False)


def _compiled(expressions: Iterable[str]) -> list[Program]:
    return [_compiled_once(expression) for expression in expressions]


@lru_cache(maxsize=256)
def _compiled_once(expression: str) -> Program:
    """Compile an expression; the same one is asked for again and again, and is slow."""
    dead = cypcap.open_dead(LinkType.RAW_DLT, _WHOLE_PACKET)
    try:
        return tuple(dead.compile(expression))
    except cypcap.Error as error:
        raise MissingFeature(
            f"libpcap: cannot compile the candidates' filter ({error}); "
            "install the version of cypcap that vpngate asks for"
        ) from error


def _packed(
    layouts: Iterable[Layout], programs: Sequence[Program], most: int
) -> list[Program]:
    """Returns every program for every layout, joined into as few as fit the limit."""
    bins: list[dict[Layout, list[Program]]] = []
    size = most
    for layout in layouts:
        for program in programs:
            needed = len(_assembled([(layout, program)]))
            size += needed
            if size > most:
                bins.append({})
                size = needed
            bins[-1].setdefault(layout, []).append(program)
    return [
        _assembled((layout, _chained(parts)) for layout, parts in joined.items())
        for joined in bins
    ]


def _any(expressions: Iterable[str]) -> str:
    return " or ".join(f"({expression})" for expression in expressions)


def _assembled(parts: Iterable[tuple[Layout, Program]]) -> list[Instruction]:
    """Returns one program that passes what any of these passes in its layout."""
    assembled: list[Instruction] = []
    for (checks, start), inner in parts:
        assembled += _guarded(checks, _moved(inner, start))
    return [*assembled, _REJECT]


def _gated(gate: Program, inner: Program) -> Program:
    """Returns one program that passes what both pass."""
    gated: list[Instruction] = []
    for left, instruction in zip(reversed(range(len(gate))), gate, strict=True):
        passed = instruction[0] == _RETURN and instruction != _REJECT
        gated.append((_JUMP, 0, 0, left) if passed else instruction)
    return [*gated, *inner]


def _moved(program: Program, by: int) -> Program:
    """Returns the program for packets that begin so many bytes further on."""
    if not by:
        return program
    return [
        (code, if_true, if_false, operand + by if code in _READS_PACKET else operand)
        for code, if_true, if_false, operand in program
    ]


def _guarded(checks: Sequence[Check], inner: Program) -> Program:
    """Returns the program, which rejects what does not meet all the checks."""
    for at, size, values in reversed(checks):
        # Conditional jumps reach 255 instructions, too few for what they skip.
        skip: Instruction = (_JUMP, 0, 0, len(inner))
        comparisons: list[Instruction] = [
            (_JUMP_IF_EQUAL, len(values) - number, 0, int.from_bytes(value))
            for number, value in enumerate(sorted(values))
        ]
        inner = [(_LOAD_BY_SIZE[size], 0, 0, at), *comparisons, skip, *inner]
    return inner


def _chained(programs: Sequence[Program]) -> Program:
    """Returns one program that passes what any of these passes."""
    chained: list[Instruction] = []
    for number, program in enumerate(programs):
        left = len(program)
        for instruction in program:
            left -= 1
            go_on: Instruction = (_JUMP, 0, 0, left)
            rejected = instruction == _REJECT and number + 1 < len(programs)
            chained.append(go_on if rejected else instruction)
    return chained
