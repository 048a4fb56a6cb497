# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts in the kernel's hashes, and the bits that tell that a flow has none.

Knows how a change of a verdict is written, and that both bits of a flow stand as long
as any flow that shares them has a verdict; does not know which flows, or for how long.
One thread alone may use it.
"""

import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, Self

import numpy as np

from vpngate.kernel.bpf.plane_maps import (
    FILTER_BITS,
    FIRST_BIT_AT,
    KEY_SIZES,
    MIX,
    SECOND_BIT_AT,
    WORD_BITS,
    PlaneMaps,
)
from vpngate.kernel.bpf.syscall import BpfRefused
from vpngate.kernel.wire.failures import Failure, Rejected
from vpngate.packets import Direction, Family

_HEAD = struct.Struct("=BBB")  # what is done, direction, family
_PUT, _TAKE_OUT = 1, 0
_DIRECTIONS = tuple(Direction)
_ALL = (1 << 64) - 1
_IN_WORD = (1 << WORD_BITS) - 1


class FlowPlace(NamedTuple):
    """Where a flow's verdict of one direction stands."""

    direction: Direction
    key: bytes

    @property
    def family(self) -> Family:
        """The family of its addresses."""
        return Family.IPV4 if len(self.key) == KEY_SIZES[Family.IPV4] else Family.IPV6

    def putting(self, value: bytes) -> bytes:
        """The change that puts a verdict there."""
        return self._head(_PUT) + self.key + value

    def taking_out(self) -> bytes:
        """The change that takes out what is there, if anything is."""
        return self._head(_TAKE_OUT) + self.key

    @classmethod
    def of(cls, change: bytes) -> tuple[Self, bytes | None]:
        """What a change is about, and the value that it puts there; None: it takes."""
        what, direction, family = _HEAD.unpack_from(change)
        end = _HEAD.size + KEY_SIZES[Family(family)]
        place = cls(_DIRECTIONS[direction], change[_HEAD.size : end])
        return place, change[end:] if what == _PUT else None

    def _head(self, what: int) -> bytes:
        return _HEAD.pack(what, _DIRECTIONS.index(self.direction), self.family)


class FlowBits:
    """The hashes and bits of one plane."""

    def __init__(self, maps: PlaneMaps) -> None:
        self._maps = maps
        self._there: set[FlowPlace] = set()
        self._shared = {
            one: np.zeros(1 << FILTER_BITS, dtype=np.uint32) for one in Direction
        }
        self._bits = {one: maps.filters[one].mapped() for one in Direction}

    def change_all(self, changes: Sequence[bytes]) -> None:
        """Make all or, where the kernel refuses one, none: Rejected."""
        before: list[tuple[FlowPlace, bytes | None]] = []
        try:
            for change in changes:
                place, value = FlowPlace.of(change)
                known = self.get(place) if place in self._there else None
                before.append((place, known))
                self._have(place, value)
        except BpfRefused as error:
            for place, value in reversed(before):
                with suppress(BpfRefused):  # it is looked after like one that ended
                    self._have(place, value)
            raise Rejected([Failure("verdict", error.number, "")]) from error

    def _have(self, place: FlowPlace, value: bytes | None) -> None:
        if value is None:
            self.take_out(place)
            return
        self._maps.verdicts[place.direction, place.family].put(place.key, value)
        if place not in self._there:
            self._there.add(place)
            shared, bits = self._shared[place.direction], self._bits[place.direction]
            for bit in _bits_of(place.key):
                shared[bit] += 1
                # A byte is stored at once. Who sees one of two is not slowed yet.
                bits[bit >> 3] |= 1 << (bit & 7)

    def take_out(self, place: FlowPlace) -> None:
        """Have no verdict there."""
        self._maps.verdicts[place.direction, place.family].remove(place.key)
        if place in self._there:
            self._there.discard(place)
            shared, bits = self._shared[place.direction], self._bits[place.direction]
            for bit in _bits_of(place.key):
                shared[bit] -= 1
                if not shared[bit]:
                    bits[bit >> 3] &= ~(1 << (bit & 7)) & 0xFF

    def get(self, place: FlowPlace) -> bytes | None:
        """The verdict there, as the kernel has it."""
        return self._maps.verdicts[place.direction, place.family].get(place.key)


def _bits_of(key: bytes) -> tuple[int, int]:
    """Two of one word. Where they are the same, it is counted twice."""
    mixed = 0
    for (word,) in struct.iter_unpack("=Q", key):
        mixed = (mixed ^ word) * MIX & _ALL
    first = mixed >> FIRST_BIT_AT
    return first, first & ~_IN_WORD | mixed >> SECOND_BIT_AT & _IN_WORD
