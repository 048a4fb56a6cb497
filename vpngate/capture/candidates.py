# SPDX-License-Identifier: GPL-2.0-or-later
"""The packet filter that picks the candidates out of traffic, for any link type.

Knows which expressions are asked, in which order, and of which link types; does not
know any protocol. libpcap's own words for tags (`vlan`, `pppoes`) move every offset
behind them for good, so that "with or without a tag" cannot be written with them.
Instead an expression is compiled once, for packets that start at their IP header, and
that program is put behind each layout of a link layer with its offsets moved
(`classic_bpf.py`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import product
from typing import NamedTuple

import cypcap

from vpngate.capture.beginnings import beginning
from vpngate.capture.classic_bpf import (
    Program,
    assembled,
    chained,
    gated,
    packed_behind,
)
from vpngate.capture.prefilter import prefilter
from vpngate.errors import MissingFeature
from vpngate.link_layers import LAYOUTS, Layout, LinkType
from vpngate.packets import Family, Transport
from vpngate.signatures import Signature
from vpngate.signatures.libpcap import filter_for
from vpngate.signatures.portions import in_portions

Matcher = Callable[[bytes], bool]

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


@dataclass(frozen=True, eq=False)
class _Group:
    """Signatures of one transport, and what passes of a family."""

    family: Family
    transport: Transport
    signatures: Sequence[Signature]

    @cached_property
    def first_look(self) -> str:
        return prefilter(self.family, self.transport, self.signatures)

    @property
    def look(self) -> str:
        # Without ports the whole is as cheap, and tells more.
        return self.first_look if self.transport.has_ports else self._whole

    @property
    def expression(self) -> str:
        if not self.transport.has_ports:
            return self._whole
        return f"({self.first_look}) and ({self._whole})"

    @property
    def portions(self) -> Program:
        """The whole, in portions that are asked one after the other."""
        family, transport = self.family, self.transport
        if not transport.has_ports:
            return _compiled_once(self._whole)
        asked = [
            gated(
                beginning(family, transport, portion),
                _compiled_once(filter_for(portion, families=[family])),
            )
            for portion in in_portions(self.signatures, _SHAPES_AT_ONCE)
        ]
        return gated(_compiled_once(self.look), chained(asked))

    @cached_property
    def _whole(self) -> str:
        return filter_for(self.signatures, families=[self.family])


class CandidateFilter:
    """What passes one of several libpcap expressions, for each link type.

    They are given, or made of groups of signatures (`of`). Groups also have looks:
    cheaper expressions, passed by all that passes the whole, as is the gate, the
    cheapest of all: nearly all traffic is turned away there. All are about IP packets
    (`ip`, `ip6` and what is in them) and name neither link layers nor the frame's
    length. Several short ones compile much faster than one long one, since libpcap's
    optimiser takes its time, so the portions of a group say the same as its expression
    in programs made of more and shorter ones; what runs out of bytes in one is not
    looked at by those behind it. Raises MissingFeature if libpcap rejects one.
    """

    def __init__(
        self, expressions: Iterable[str] = (), groups: Iterable[_Group] = ()
    ) -> None:
        self._given = tuple(expressions)
        self._groups = tuple(groups)
        # Those without ports ask least, and may be all that a tunnel sends.
        by_ports = sorted(self._groups, key=lambda group: group.transport.has_ports)
        self._portions = [*_compiled(self._given), *(g.portions for g in by_ports)]
        self._gate = (
            None
            if self._given
            else _compiled_once(_any(group.first_look for group in self._groups))
        )
        self.program = cache(self._program)
        self.packed = cache(self._packed)
        self.matcher = cache(self._matcher)

    @classmethod
    def of(cls, signatures: Iterable[Signature]) -> "CandidateFilter":
        """The filter of what may match a signature."""
        chosen = tuple(signatures)
        transports = sorted({signature.transport for signature in chosen})
        groups = (
            _Group(family, transport, [s for s in chosen if s.transport is transport])
            for family, transport in product(Family, transports)
        )
        return cls(groups=groups)

    @cached_property
    def _programs(self) -> Sequence[Program]:
        """Of the expressions; made when asked for, as they take longest."""
        made = (group.expression for group in self._groups)
        return _compiled((*self._given, *made))

    @cached_property
    def _looks(self) -> Sequence[Program] | None:
        """Of the looks; None where an expression has none."""
        return None if self._given else _compiled(group.look for group in self._groups)

    def _program(self, link_type: int) -> Program | None:
        """The filter of a link type; None where it cannot be written."""
        layouts = LAYOUTS.get(link_type)
        if layouts is None:
            return None
        return assembled((layout, self._behind_links) for layout in layouts)

    def _packed(self, link_type: int) -> bytes | None:
        """The same, packed."""
        layouts = LAYOUTS.get(link_type)
        return None if layouts is None else packed_behind(layouts, self._behind_links)

    @cached_property
    def _behind_links(self) -> Program:
        """The filter of packets that begin with their IP header."""
        whole = chained(self._portions)
        return whole if self._gate is None else gated(self._gate, whole)

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
            needed = len(assembled([(layout, program)]))
            size += needed
            if size > most:
                bins.append({})
                size = needed
            bins[-1].setdefault(layout, []).append(program)
    return [
        assembled((layout, chained(parts)) for layout, parts in joined.items())
        for joined in bins
    ]


def _any(expressions: Iterable[str]) -> str:
    return " or ".join(f"({expression})" for expression in expressions)
