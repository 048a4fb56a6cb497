# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs and maps of one data plane: its stages, switch, counters, verdicts.

Knows how each is changed and read back, under the names that nftables' table has for
them; does not know interfaces, or which flows are throttled. One thread alone may use
it. Its descriptors are the only ones of its stages: what it does ends with the process.
"""

import ctypes
import mmap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from vpngate.errors import MissingFeature, Problem
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.code.hooked import at_near_end
from vpngate.kernel.bpf.code.recognising import by_order
from vpngate.kernel.bpf.code.stages import PROTECTED, WATCHED, PlaneParts
from vpngate.kernel.bpf.maps import index, processors
from vpngate.kernel.bpf.plane_maps import (
    ARMED_AT,
    COUNT_SIZE,
    COUNTED,
    RING_FULL,
    SETTLING_AT,
    PlaneMaps,
    Stand,
)
from vpngate.kernel.bpf.spared_arrays import Few, SparedArrays
from vpngate.kernel.programmed.at_hooks import AtHooks
from vpngate.kernel.programmed.flow_bits import FlowBits
from vpngate.kernel.programmed.made_ahead import (
    MadeAhead,
    RoomAhead,
    StageSet,
    in_programs,
)
from vpngate.kernel.programmed.memory import copy_limits, set_memory
from vpngate.kernel.programmed.memory.armed_time import ArmedTime
from vpngate.kernel.programmed.stage_slots import StageSlots
from vpngate.kernel.wire.channel import Change
from vpngate.packets import Family
from vpngate.prefixes.intervals import Intervals
from vpngate.prefixes.rows import Flags, Rows
from vpngate.ruleset import Ruleset, names
from vpngate.ruleset.witnessing import SETTLING
from vpngate.signatures import Signature

TURN = Change(b"turn", "spared addresses")  # to the arrays that were made last
_SECOND = 10**9
_SPARE_ROOM = 4096  # verdicts that have ended and are still to be taken out
_KINDS = 64  # signatures that a later configuration may have
_FEW_STEPS = 12  # of a search of what is protected: 80 KiB a set


class ProgrammedTable:
    """See `table/owned.py` for what its twin does under the same names.

    `lasting` is whether what stands at hooks may outlive the process.
    """

    def __init__(self, name: str, *, lasting: bool) -> None:
        self.name = name
        self.changed = 0.0  # when whom is spared was, by a clock that never jumps
        self.made = SparedArrays.of(Intervals.empty())  # last, perhaps not in force
        self._at_hooks = AtHooks(lasting=lasting)
        self.near_end = -1
        self._headers: frozenset[int] = frozenset()
        self._served: tuple[Ruleset, frozenset[int]] | None = None
        self._ahead = MadeAhead()
        self._rooms = RoomAhead(self._ahead)
        self._armed = ArmedTime(
            partial(self._set, ARMED_AT), partial(self._get, ARMED_AT)
        )

    @property
    def hooks(self) -> Mapping[Stand, int]:
        """The programs that are to stand at hooks."""
        return self._at_hooks.programs

    def create(self, ruleset: Ruleset) -> None:
        """Make maps and stages; MissingFeature or MissingPrivilege if it cannot be."""
        signatures = _in_order(ruleset)
        self.maps = PlaneMaps(ruleset.max_flows + _SPARE_ROOM, _KINDS)
        self.flows = FlowBits(self.maps)
        self._slots = StageSlots(self.maps.stages)
        self._times = self.maps.times.mapped()
        self._limits = self.maps.limits.mapped()
        few = Few(_FEW_STEPS)
        self.parts = PlaneParts(ruleset, signatures, self.maps, few, self.made)
        self.near_end = programs.load(at_near_end(self.parts), "vpngate_near")

    def close(self) -> None:
        """Let go of all of it: the stages end at once."""
        self._at_hooks.close()
        if self.near_end >= 0:
            programs.close(self.near_end)
        self.near_end = -1
        self._ahead.close()
        self._rooms.close()
        self._slots.close()
        self.maps.close()
        self.parts.few.close()
        for arrays in {id(one): one for one in (self.made, self.parts.spared)}.values():
            arrays.close()

    def destroy(self) -> None:
        """Leave all packets alone from now on."""
        self.disarm()
        self._slots.empty()

    def make_anew(self, made: SparedArrays) -> None:
        """Have these to turn to, and the programs that ask them; in any thread."""
        self.forget_made()
        self.made = made
        parts = replace(self.parts, spared=made)
        self._ahead.make(parts, self._headers, hooks=False)

    def forget_made(self) -> None:
        """What was made last is not wanted, unless it is in force."""
        if self.made is not self.parts.spared:
            self.made.close()
            self.made = self.parts.spared

    def make_ahead_for(self, ruleset: Ruleset, headers: frozenset[int]) -> None:
        """Make what `serve` will want when it turns to what was made; in any thread."""
        if self._served != (in_programs(ruleset), headers):
            parts = replace(self._parts_of(ruleset), spared=self.made)
            self._ahead.make(parts, headers, hooks=True)

    def serve(
        self, ruleset: Ruleset, headers: frozenset[int], *, turn: bool = False
    ) -> None:
        """Have programs for a ruleset and such interfaces: `hooks`, and their stages.

        All or none of it is in force then. With `turn` they ask the arrays that were
        made last. Stages first: what a hook's program leads to is there before it is.
        They are made anew only if others are needed.
        """
        served = in_programs(ruleset), headers
        if self._served == served:
            if turn:
                self._turn()
            return
        parts = self._parts_of(ruleset)
        if turn:
            parts = replace(parts, spared=self.made)
        loaded = self._ahead.take(parts, headers, hooks=True)
        made = self._at_hooks.taken_from(loaded, parts)
        try:
            self._hold(loaded, parts)
        except BaseException:
            self._at_hooks.drop(made)
            raise
        self._headers, self._served = headers, served
        copy_limits.put(self._limits, ruleset, parts.signatures)
        self._at_hooks.turn(made)

    def commit(self, changes: Sequence[Change]) -> None:
        """Make changes of verdicts, or turn to the arrays that were made last."""
        if TURN in changes:
            self._turn()
        self.flows.change_all([one.data for one in changes if one != TURN])

    introduce = introduce_slowing = commit

    def arm(self, seconds: float) -> None:
        """Let the throttle stage work for so long from now."""
        self._armed.arm(time.monotonic_ns() + int(seconds * _SECOND))

    def disarm(self) -> None:
        """Stop throttling at once."""
        self._armed.disarm()

    def held_off(self, work: Callable[[], None]) -> Callable[[], None]:
        """Slow nothing until `work`, which is returned, has been done; any thread."""
        return self._armed.held_off(work)

    def settle(self) -> None:
        """Whom is spared changes: no witness counts yet."""
        self.changed = time.monotonic()
        self._set(SETTLING_AT, time.monotonic_ns() + int(SETTLING * _SECOND))

    def protect(self, protected: Intervals, watched: Intervals) -> None:
        """Have exactly these in the small sets, whatever was there."""
        old = self.parts.few
        sets = {PROTECTED: protected, WATCHED: watched}
        if old.fits(protected):
            old.put_all(sets)
            return
        bigger = self._rooms.take(protected)
        try:
            bigger.put_all(sets)
            parts = replace(self.parts, few=bigger)
            loaded = self._ahead.take(parts, self._headers, hooks=False)
            self._hold(loaded, parts)
        except BaseException:
            bigger.close()
            raise
        old.close()

    def lacks_room(self, protected: Intervals) -> bool:
        """Whether the small sets are too small for these; in any thread."""
        return not self.parts.few.fits(protected)

    def make_room(self, protected: Intervals) -> None:
        """Have larger ones ready, with the programs that ask them; in any thread."""
        self._rooms.make(self.parts, self._headers, protected)

    def counters(self) -> dict[str, tuple[int, int]]:
        """Packets and bytes of each counter."""
        size = len(COUNTED) * COUNT_SIZE
        whole = self.maps.counters.get(index(0), size * processors()) or b""
        totals = np.frombuffer(whole, "<u8").reshape(-1, len(COUNTED), 2).sum(axis=0)
        return {
            name: (int(packets), int(octets))
            for name, (packets, octets) in zip(COUNTED, totals.tolist(), strict=True)
        }

    def starts(self, sets: Sequence[str], addresses: Rows) -> list[bytes | None]:
        """For each row, where its set's interval around it begins; None without."""
        if not sets:
            return []
        return self._found(sets[0]).starts(addresses)

    def holds(self, sets: Sequence[str], addresses: Rows) -> Flags:
        """For each row, whether its set of intervals holds it."""
        found: Flags = np.array(
            [one is not None for one in self.starts(sets, addresses)], dtype=np.bool_
        )
        return found

    def count(self, sets: Sequence[str]) -> int:
        """How many intervals are in some sets, but for one at the top of all."""
        return set_memory.intervals([self._found(name) for name in sets])

    def ring(self) -> tuple[int, mmap.mmap, mmap.mmap, int]:
        """The ring of copies: descriptor, where reading is noted, what is there, size.

        Whoever asks for it closes both parts of memory.
        """
        page, size = mmap.PAGESIZE, self.maps.ring.layout.entries
        read = self.maps.ring.mapped(page)
        there = self.maps.ring.mapped(page + 2 * size, page, writable=False)
        return self.maps.ring.descriptor, read, there, size

    def copies_lost(self) -> int:
        """How many found no room in the ring; in any thread."""
        packets, _ = self.counters()[RING_FULL]
        return packets

    def _found(self, name: str) -> set_memory.ReadBounds:
        family = next(one for one in Family if f"_{one.label}" in name)
        if name == names.protected_set(family):
            return set_memory.of_few(family, self.parts.few, PROTECTED)
        return set_memory.of_large(family, self.parts.spared.searched[family])

    def is_whole(self) -> bool:
        """Whether packets meet the programs, and these the sets, put there."""
        return self._slots.are_whole() and self.parts.few.is_whole()

    def _turn(self) -> None:
        """Have every packet that comes from now on meet what was made last."""
        parts = replace(self.parts, spared=self.made)
        self._hold(self._ahead.take(parts, self._headers, hooks=False), parts)

    def _hold(self, loaded: StageSet, parts: PlaneParts) -> None:
        """Have these stages in force; only then are they what there is."""
        turned = parts.spared is not self.parts.spared
        if turned:
            self.settle()
        self._slots.hold(loaded)
        old, self.parts = self.parts, parts
        if turned:
            old.spared.close()

    def _parts_of(self, ruleset: Ruleset) -> PlaneParts:
        signatures = _in_order(ruleset)
        return replace(self.parts, ruleset=ruleset, signatures=signatures)

    def _get(self, at: int) -> int:
        return ctypes.c_uint64.from_buffer(self._times, at).value

    def _set(self, at: int, value: int) -> None:
        """In one piece: programs read it at any moment."""
        ctypes.c_uint64.from_buffer(self._times, at).value = value


def _in_order(ruleset: Ruleset) -> list[Signature]:
    """Its signatures; MissingFeature if there are more than have room."""
    signatures = by_order(ruleset.signatures)
    if len(signatures) > _KINDS:
        told = f"are {len(signatures)}, and the eBPF plane has room for {_KINDS}"
        remedy = 'enable fewer tunnels, or choose gateway.plane = "nftables"'
        raise MissingFeature(Problem("signatures", told, remedy))
    return signatures
