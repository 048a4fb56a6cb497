# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that are loaded before they are needed, in any thread.

Knows which programs a plane goes on at and stands by, and whether those that were made
are the ones that are wanted now; does not know what they do, nor when they are put in
force. The verifier takes a tenth of a second for them: nothing urgent is to wait for
that.
"""

import threading
from dataclasses import replace
from typing import NamedTuple

from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.code.hooked import at_hook
from vpngate.kernel.bpf.code.stages import PlaneParts, copying, throttling, witness
from vpngate.kernel.bpf.plane_maps import Stage, Stand, stage_at
from vpngate.kernel.bpf.spared_arrays import Few
from vpngate.packets import HookPoint
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset

_KEPT = 2  # for other arrays of spared addresses, and for other rules


class StageSet(NamedTuple):
    """Programs, as descriptors, and what they are made of.

    stages  by number, those that slow first: whoever is spared more is so at once
    hooks   by where they meet packets; none unless they were asked for
    """

    parts: PlaneParts
    headers: frozenset[int]
    stages: dict[int, int]
    hooks: dict[Stand, int]

    def close(self) -> None:
        """Let go of all of them."""
        for one in (*self.stages.values(), *self.hooks.values()):
            programs.close(one)
        self.stages.clear()
        self.hooks.clear()

    def fits(self, parts: PlaneParts, headers: frozenset[int]) -> bool:
        """Whether they are made of the same, for the same interfaces."""
        mine = self.parts
        return (
            (mine.maps, mine.few, mine.spared) == (parts.maps, parts.few, parts.spared)
            and (self.headers, mine.signatures) == (headers, parts.signatures)
            and in_programs(mine.ruleset) == in_programs(parts.ruleset)
        )


def in_programs(ruleset: Ruleset) -> Ruleset:
    """What of a ruleset programs are made of."""
    return replace(
        ruleset,
        table="",
        interfaces=(),
        hook_priority=0,
        deadman=0.0,
        rate=0,
        max_flows=0,
        nflog_group=0,
        spared=Intervals.empty(),
    )


def stands(headers: frozenset[int]) -> list[Stand]:
    """Where programs meet packets with such link headers."""
    return [Stand(point, header) for point in HookPoint for header in sorted(headers)]


def load(parts: PlaneParts, headers: frozenset[int], *, hooks: bool) -> StageSet:
    """Load them all, or none."""
    made = StageSet(parts, headers, {}, {})
    try:
        for stage, code in ((Stage.THROTTLE, throttling), (Stage.COPY, copying)):
            for stand in stands(headers):
                number = stage_at(stage, stand)
                made.stages[number] = programs.load(code(parts, stand), "vpngate_stage")
        made.stages[Stage.WITNESS] = programs.load(witness(parts), "vpngate_stage")
        for stand in stands(headers) if hooks else ():
            made.hooks[stand] = programs.load(at_hook(parts, stand), "vpngate_hook")
    except BaseException:
        made.close()
        raise
    return made


class MadeAhead:
    """A few sets of programs that may soon be wanted; in any thread."""

    def __init__(self) -> None:
        self._kept: list[StageSet] = []
        self._most = _KEPT
        self._guard = threading.Lock()

    def make(self, parts: PlaneParts, headers: frozenset[int], *, hooks: bool) -> None:
        """Have them ready, unless nothing is wanted any more."""
        made = load(parts, headers, hooks=hooks)
        with self._guard:
            self._kept.append(made)
            surplus = max(0, len(self._kept) - self._most)
            old, self._kept = self._kept[:surplus], self._kept[surplus:]
        for one in old:
            one.close()

    def take(
        self, parts: PlaneParts, headers: frozenset[int], *, hooks: bool
    ) -> StageSet:
        """Those that are wanted now: made already, or else at once."""
        with self._guard:
            for one in self._kept:
                if one.fits(parts, headers) and bool(one.hooks) >= hooks:
                    self._kept.remove(one)
                    return one
        return load(parts, headers, hooks=hooks)

    def close(self) -> None:
        """Let go of those that nobody wanted, also of what is still being made."""
        with self._guard:
            old, self._kept, self._most = self._kept, [], 0
        for one in old:
            one.close()


class RoomAhead:
    """Small sets with room for more than there are; all but `take` in any thread."""

    def __init__(self, ahead: MadeAhead) -> None:
        self._ahead = ahead
        self._made: list[Few] = []
        self._guard = threading.Lock()
        self._closed = False

    def make(
        self, parts: PlaneParts, headers: frozenset[int], wanted: Intervals
    ) -> None:
        """Have such with room for these, and programs that ask them."""
        bigger = _with_room(wanted)
        try:
            self._ahead.make(replace(parts, few=bigger), headers, hooks=False)
        except BaseException:
            bigger.close()
            raise
        with self._guard:
            if not self._closed:
                self._made.append(bigger)
                return
        bigger.close()

    def take(self, wanted: Intervals) -> Few:
        """Some with room for these: made already, or else at once."""
        found = None
        while self._made:
            one = self._made.pop()
            if found is None and one.fits(wanted):
                found = one
            else:
                one.close()
        return _with_room(wanted) if found is None else found

    def close(self) -> None:
        """Let go of those that nobody wanted."""
        with self._guard:
            self._closed = True
        while self._made:
            self._made.pop().close()


def _with_room(wanted: Intervals) -> Few:
    return Few((2 * len(wanted) + 2).bit_length() + 1)
