# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs of a plane with their maps, without interfaces: packets are tried.

Knows how to write what the daemon would, plainly, and how to read what the programs
left; does not know what should become of a packet.
"""

import contextlib
import mmap
import struct
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Self

from tests.lab.bpf_keys import places_of
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.code.hooked import at_hook
from vpngate.kernel.bpf.code.recognising import by_order
from vpngate.kernel.bpf.code.stages import PlaneParts, copying, throttling, witness
from vpngate.kernel.bpf.maps import index
from vpngate.kernel.bpf.plane_maps import (
    COUNT_SIZE,
    COUNTED,
    LIMIT_SIZE,
    LONG_AGO,
    VERDICT,
    PlaneMaps,
    Stage,
    Stand,
    stage_at,
)
from vpngate.kernel.bpf.spared_arrays import Few, SparedArrays
from vpngate.packets import Direction, Family, HookPoint
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset, sharing

ETHERNET = 14
SECOND = 10**9
_RECORD_ALIGNED = 8


class TriedPlane:
    """All programs of a ruleset, for packets with Ethernet's header."""

    def __init__(
        self, ruleset: Ruleset, spared: Intervals, max_flows: int = 64
    ) -> None:
        self._undo = contextlib.ExitStack()
        signatures = by_order(ruleset.signatures)
        self.maps = PlaneMaps(max_flows, len(signatures))
        self._undo.callback(self.maps.close)
        self.few = Few(6)
        self._undo.callback(self.few.close)
        self._ruleset, self._signatures = ruleset, signatures
        self.spare(spared)
        self._hooks: dict[HookPoint, int] = {}
        self._put_there: list[tuple[Direction, Family, bytes]] = []
        for point in HookPoint:
            stand = Stand(point, ETHERNET)
            self._hooks[point] = programs.load(at_hook(self.told, stand), "tried")
            self._undo.callback(programs.close, self._hooks[point])
        self._times = self._mapped(self.maps.times.mapped())
        self._bits = {d: self._mapped(m.mapped()) for d, m in self.maps.filters.items()}
        self._limits = self._mapped(self.maps.limits.mapped())
        self._ring = self._mapped(
            self.maps.ring.mapped(mmap.PAGESIZE, mmap.PAGESIZE, writable=False)
        )
        for point in HookPoint:
            for number, one in enumerate(signatures):
                limit = sharing.copies(ruleset, one)
                self.limit(point, number, limit.rate)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _mapped(self, memory: mmap.mmap) -> mmap.mmap:
        return self._undo.enter_context(memory)

    def spare(self, spared: Intervals) -> None:
        """Have the stages made anew, as a change of the registry does."""
        arrays = SparedArrays.of(spared)
        self.told = PlaneParts(
            self._ruleset, self._signatures, self.maps, self.few, arrays
        )
        for point in HookPoint:
            stand = Stand(point, ETHERNET)
            for stage, make in ((Stage.COPY, copying), (Stage.THROTTLE, throttling)):
                self._put(stage_at(stage, stand), make(self.told, stand))
        self._put(Stage.WITNESS, witness(self.told))
        arrays.close()

    def _put(self, number: int, code: bytes) -> None:
        program = programs.load(code, "tried")
        self.maps.stages.put(index(number), struct.pack("=I", program))
        programs.close(program)

    def limit(self, point: HookPoint, number: int, rate: int, due: int = 0) -> None:
        between = SECOND // rate
        at = (point * len(self.told.signatures) + number) * LIMIT_SIZE
        struct.pack_into("=QQQ", self._limits, at, due, between, (rate - 1) * between)

    def arm(self, until: int) -> None:
        struct.pack_into("=Q", self._times, 0, until)

    def settle(self, until: int) -> None:
        struct.pack_into("=Q", self._times, 8, until)

    def verdict(
        self, direction: Direction, family: Family, key: bytes, value: bytes
    ) -> None:
        """`value` is class and device."""
        number, device = struct.unpack("=II", value)
        packed = struct.pack(VERDICT, number, device, 180, 0, (1 << 63) - 1)
        self.maps.verdicts[direction, family].put(key, packed)
        for bit in places_of(key).bits:
            self._bits[direction][bit // 8] |= 1 << bit % 8
        self._put_there.append((direction, family, key))

    def clear_verdicts(self) -> None:
        for direction, family, key in self._put_there:
            self.maps.verdicts[direction, family].remove(key)
            for bit in places_of(key).bits:
                self._bits[direction][bit // 8] = 0
        self._put_there.clear()

    def due_late(self, now: int) -> bytes:
        """The value of a limit that lets nothing through for a while."""
        return struct.pack("=Q", now + LONG_AGO + 60 * SECOND)

    def counted(self) -> Counter[str]:
        """Packets by counter, of all processors."""
        size = len(COUNTED) * COUNT_SIZE
        processors = len(range(*_possible_processors()))
        whole = self.maps.counters.get(index(0), size * processors)
        assert whole is not None
        totals: Counter[str] = Counter()
        for start in range(0, len(whole), size):
            for number, name in enumerate(COUNTED):
                (packets,) = struct.unpack_from(
                    "=Q", whole, start + number * COUNT_SIZE
                )
                if packets:
                    totals[name] += packets
        return totals

    @property
    def produced(self) -> int:
        """Bytes that have been put into the ring."""
        (position,) = struct.unpack_from("=Q", self._ring, 0)
        return int(position)

    def meet(
        self, point: HookPoint, frame: bytes, interface: int = 0
    ) -> programs.Trial:
        return programs.try_out(self._hooks[point], frame, interface=interface)


@cache
def _possible_processors() -> tuple[int, int]:
    told = Path("/sys/devices/system/cpu/possible").read_text().strip()
    first, _, last = told.partition("-")
    return int(first), int(last or first) + 1
