# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs and maps of one data plane: its stages, switch, counters, verdicts.

Knows how each is changed and read back, under the names that nftables' table has for
them; does not know interfaces, or which flows are throttled. One thread alone may use
it. Its descriptors are the only ones of its stages: what it does ends with the process.
"""

import ctypes
import mmap
import struct
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.code.hooked import at_hook, at_lasting_hook, at_near_end
from vpngate.kernel.bpf.code.recognising import by_order
from vpngate.kernel.bpf.code.stages import (
    PROTECTED,
    WATCHED,
    PlaneParts,
    copying,
    throttling,
    witness,
)
from vpngate.kernel.bpf.maps import index
from vpngate.kernel.bpf.plane_maps import (
    ARMED_AT,
    COUNT_SIZE,
    COUNTED,
    LIMIT_SIZE,
    RING_FULL,
    SETTLING_AT,
    PlaneMaps,
    Stage,
    Stand,
    stage_at,
)
from vpngate.kernel.bpf.spared_arrays import Few, SparedArrays
from vpngate.kernel.programmed import set_memory
from vpngate.kernel.programmed.flow_bits import FlowBits
from vpngate.kernel.wire.channel import Change
from vpngate.packets import Family, HookPoint
from vpngate.prefixes.intervals import Intervals
from vpngate.prefixes.rows import Flags, Rows
from vpngate.ruleset import Ruleset, names, sharing
from vpngate.ruleset.witnessing import SETTLING

ETHERNET, NO_HEADER = 14, 0  # bytes before the IP header
TURN = Change(b"turn", "spared addresses")  # to the arrays that were made last
_SECOND = 10**9
_SPARE_ROOM = 4096  # verdicts that have ended and are still to be taken out
_KINDS = 64  # signatures that a later configuration may have


class ProgrammedTable:
    """See `table/owned.py` for what its twin does under the same names.

    `lasting` is whether what stands at hooks outlives the process: then next to
    nothing stands there, and is never exchanged.
    """

    def __init__(self, name: str, *, lasting: bool) -> None:
        self.name = name
        self._lasting = lasting
        self.changed = 0.0  # when whom is spared was, by a clock that never jumps
        self.made = SparedArrays.of(Intervals.empty())  # last, perhaps not in force
        self.hooks: dict[Stand, int] = {}  # programs
        self.near_end = -1
        self._spared = self.made
        self._headers: set[int] = set()
        self._served: tuple[Ruleset, set[int]] | None = None

    def create(self, ruleset: Ruleset) -> None:
        """Make maps and stages; MissingFeature or MissingPrivilege if it cannot be."""
        signatures = by_order(ruleset.signatures)
        self._ruleset, self._signatures = ruleset, signatures
        self.maps = PlaneMaps(ruleset.max_flows + _SPARE_ROOM, _KINDS)
        self.flows = FlowBits(self.maps)
        self._few = Few()
        self._times = self.maps.times.mapped()
        self._limits = self.maps.limits.mapped()
        self.near_end = programs.load(at_near_end(self._parts()), "vpngate_near")

    def close(self) -> None:
        """Let go of all of it: the stages end at once."""
        for program in (*self.hooks.values(), self.near_end):
            if program >= 0:
                programs.close(program)
        self.hooks, self.near_end = {}, -1
        self.maps.close()
        self._few.close()
        for arrays in {id(one): one for one in (self.made, self._spared)}.values():
            arrays.close()

    def destroy(self) -> None:
        """Leave all packets alone from now on."""
        self.disarm()
        for number in range(Stage.WITNESS + 1):
            self.maps.stages.remove(index(number))

    def serve(self, ruleset: Ruleset, headers: set[int]) -> dict[Stand, int]:
        """Have programs for a ruleset and such interfaces; those for hooks.

        Stages first: what a hook's program leads to is there before it is. They are
        made anew only if others are needed: it takes a tenth of a second.
        """
        alike = replace(ruleset, interfaces=(), spared=Intervals.empty())
        if self._served == (alike, headers):
            return self.hooks
        self._served = None
        self._ruleset, self._headers = ruleset, headers
        self._signatures = by_order(ruleset.signatures)
        self._limit()
        self._put_stages()
        self._put_hooks()
        self._served = alike, headers
        return self.hooks

    def commit(self, changes: Sequence[Change]) -> None:
        """Make changes of verdicts, or turn to the arrays that were made last."""
        for change in changes:
            if change == TURN:
                self._turn()
            else:
                self.flows.change(change.data)

    introduce = introduce_slowing = commit

    def arm(self, seconds: float) -> None:
        """Let the throttle stage work for so long from now."""
        self._set(ARMED_AT, time.monotonic_ns() + int(seconds * _SECOND))

    def disarm(self) -> None:
        """Stop throttling at once."""
        self._set(ARMED_AT, 0)

    def settle(self) -> None:
        """Whom is spared changes: no witness counts yet."""
        self.changed = time.monotonic()
        self._set(SETTLING_AT, time.monotonic_ns() + int(SETTLING * _SECOND))

    def protect(self, protected: Intervals, watched: Intervals) -> None:
        """Have exactly these in the small sets, whatever was there."""
        if not self._few.fits(protected):
            bigger = Few((2 * len(protected) + 2).bit_length() + 1)
            old, self._few = self._few, bigger
            bigger.put(PROTECTED, protected)
            bigger.put(WATCHED, watched)
            self._put_stages()
            old.close()
            return
        self._few.put(PROTECTED, protected)
        self._few.put(WATCHED, watched)

    def counters(self) -> dict[str, tuple[int, int]]:
        """Packets and bytes of each counter."""
        size = len(COUNTED) * COUNT_SIZE
        whole = self.maps.counters.get(index(0), size * _processors()) or b""
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
            return set_memory.of_few(family, self._few, PROTECTED)
        return set_memory.of_large(family, self._spared.searched[family])

    def _turn(self) -> None:
        old, self._spared = self._spared, self.made
        try:
            self.settle()
            self._put_stages()
        except BaseException:
            self._spared = old
            raise
        if old is not self._spared:
            old.close()

    def _put_stages(self) -> None:
        """Have every packet that comes from now on go on at stages made anew.

        Those that slow first: whoever is spared more is so at once.
        """
        parts = self._parts()
        made = [
            (stage_at(stage, stand), make(parts, stand))
            for stage, make in ((Stage.THROTTLE, throttling), (Stage.COPY, copying))
            for stand in self._stands()
        ]
        for number, code in (*made, (int(Stage.WITNESS), witness(parts))):
            self._put_stage(number, code)

    def _put_stage(self, number: int, code: bytes) -> None:
        program = programs.load(code, "vpngate_stage")
        try:
            self.maps.stages.put(index(number), struct.pack("=I", program))
        finally:
            programs.close(program)

    def _put_hooks(self) -> None:
        """Make programs for hooks anew, or what lasting ones go on at."""
        parts, old = self._parts(), self.hooks
        if self._lasting:
            for stand in self._stands():
                self._put_stage(stage_at(Stage.HOOK, stand), at_hook(parts, stand))
        make, known = (at_lasting_hook, old) if self._lasting else (at_hook, {})
        made = {
            stand: known.get(stand) or programs.load(make(parts, stand), "vpngate_hook")
            for stand in self._stands()
        }
        self.hooks = made
        for program in set(old.values()) - set(made.values()):
            programs.close(program)

    def _stands(self) -> list[Stand]:
        return [Stand(p, h) for p in HookPoint for h in sorted(self._headers)]

    def _parts(self) -> PlaneParts:
        return PlaneParts(
            self._ruleset, self._signatures, self.maps, self._few, self._spared
        )

    def _limit(self) -> None:
        many = len(self._signatures)
        for point in HookPoint:
            for number, one in enumerate(self._signatures):
                rate = sharing.copies(self._ruleset, one).rate
                between = _SECOND // rate
                at = (point * many + number) * LIMIT_SIZE
                limit = 0, between, (rate - 1) * between
                struct.pack_into("=QQQ", self._limits, at, *limit)

    def _set(self, at: int, value: int) -> None:
        """In one piece: programs read it at any moment."""
        ctypes.c_uint64.from_buffer(self._times, at).value = value


def _processors() -> int:
    with open("/sys/devices/system/cpu/possible", encoding="ascii") as told:  # noqa: PTH123
        first, _, last = told.read().strip().partition("-")
    return int(last or first) - int(first) + 1
