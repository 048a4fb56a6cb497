# SPDX-License-Identifier: GPL-2.0-or-later
"""The slots of the array that packets go on through, and the programs that are in them.

Knows how all of them are exchanged or none, and whether the kernel has in them what
was put there; does not know what programs do. One thread alone may use it.
"""

import struct

from vpngate.errors import VpngateError
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.maps import Map, index
from vpngate.kernel.bpf.plane_maps import Stage
from vpngate.kernel.programmed.made_ahead import StageSet


class StageSlots:
    """Those of one plane. Programs stay open, so that they can be put back."""

    def __init__(self, slots: Map) -> None:
        self._slots = slots
        self._held: StageSet | None = None

    def hold(self, wanted: StageSet) -> None:
        """Have these in force, in their order, and no others; on an error those before.

        Where even these cannot be put back `are_whole` tells. Programs proper of hooks
        stay in their slots unless there are others; where somebody has taken one out
        it is put back.
        """
        before = self._held.stages if self._held else {}
        own = any(map(_is_of_hooks, wanted.stages))
        kept = set() if own else set(filter(_is_of_hooks, before))
        done: list[int] = []
        try:
            for number, program in wanted.stages.items():
                done.append(number)
                self._put(number, program)
            for number in kept:
                if not self._has(number, before[number]):
                    self._put(number, before[number])
            for number in before.keys() - wanted.stages.keys() - kept:
                done.append(number)
                self._slots.remove(index(number))
        except BaseException:
            self._put_back(done, before)
            wanted.close()
            raise
        held, self._held = self._held, wanted
        if held is not None:
            wanted.stages.update((n, held.stages.pop(n)) for n in kept)
            held.close()

    def are_whole(self) -> bool:
        """Whether the kernel has in each slot what was put there."""
        wanted = self._held.stages if self._held else {}
        return all(self._has(number, program) for number, program in wanted.items())

    def empty(self) -> None:
        """Have nothing go on at any: all packets are left alone."""
        for number in range(self._slots.layout.entries):
            self._slots.remove(index(number))

    def close(self) -> None:
        """Let go of the programs."""
        held, self._held = self._held, None
        if held is not None:
            held.close()

    def _has(self, number: int, program: int) -> bool:
        told = struct.pack("=I", programs.id_of(program))
        return self._slots.get(index(number)) == told

    def _put(self, number: int, program: int) -> None:
        self._slots.put(index(number), struct.pack("=I", program))

    def _put_back(self, done: list[int], before: dict[int, int]) -> None:
        for number in done:
            try:
                if number in before:
                    self._put(number, before[number])
                else:
                    self._slots.remove(index(number))
            except VpngateError:
                continue


def _is_of_hooks(number: int) -> bool:
    return Stage.HOOK <= number < Stage.WITNESS
