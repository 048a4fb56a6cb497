# SPDX-License-Identifier: GPL-2.0-or-later
"""Whom nothing slows, as sorted bounds in memory that the kernel's programs search.

Knows how intervals become arrays and how these are shared out over maps; does not know
how they are searched (`code/asking.py`), nor who is in them.

An address is inside if the number of bounds that are not above it is odd: an interval
begins at one, and the next is behind its end. An array has a power of two of them. The
last is never looked at by programs, and tells how many there are; the rest is filled up
with the highest there may be. So the highest address of all counts as inside: it is
nobody's, and left alone.

A map is made, filled, and then used by programs: it never changes. Linux before 6.12
takes no value of more than 4 MiB, so many addresses are in several maps, and the
programs that use them know where each begins.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.maps import Map, MapLayout, mapped_array
from vpngate.kernel.bpf.syscall import BpfRefused, MapKind
from vpngate.packets import Family
from vpngate.prefixes.intervals import Bounds, Intervals
from vpngate.prefixes.rows import digits, following

WIDTHS = {Family.IPV4: 4, Family.IPV6: 16}
_LARGEST = 4 << 20  # bytes of a value
_FEWEST = 6  # steps of a search

Words = NDArray[np.uint32] | NDArray[np.uint64]


class Searched(NamedTuple):
    """The maps of one family, each with the first bound that is in it.

    steps  how often a search halves what is left of one of them
    """

    maps: tuple[Map, ...]
    begin: tuple[int, ...]
    steps: int

    def close(self) -> None:
        """Let go of them: they end with the last program that uses them."""
        for one in self.maps:
            one.close()


class SparedArrays(NamedTuple):
    """All addresses of a set, by family."""

    searched: dict[Family, Searched]

    @classmethod
    def of(cls, intervals: Intervals) -> Self:
        """Make and fill the maps; takes a while for a million, in any thread."""
        made: dict[Family, Searched] = {}
        try:
            for family in Family:
                made[family] = _searched(family, intervals.of(family))
        except BaseException:
            for one in made.values():
                one.close()
            raise
        return cls(made)

    def close(self) -> None:
        """Let go of the maps."""
        for one in self.searched.values():
            one.close()


class Few:
    """Sets that are written anew as a whole, at once, while programs go on asking.

    Each set is the value of a map that is an element of another: the addresses of both
    families one behind the other. There is room for `1 << steps` bounds of each, less
    one; `fits` tells whether that is enough.
    """

    SETS = 2  # for packets that are to be slowed, and for the witness

    def __init__(self, steps: int = 10) -> None:
        self.steps = steps
        self.at = {Family.IPV4: 0, Family.IPV6: WIDTHS[Family.IPV4] << steps}
        self.size = sum(width << steps for width in WIDTHS.values())
        self.inner = [self._inner(Intervals.empty()) for _ in range(self.SETS)]
        layout = MapLayout(MapKind.ARRAY_OF_MAPS, 4, 4, self.SETS)
        self.outer = Map("few", layout, self.inner[0])
        for number, one in enumerate(self.inner):
            self._turn(number, one)

    def fits(self, intervals: Intervals) -> bool:
        """Whether there is room for these."""
        return all(2 * len(intervals.of(family)) < 1 << self.steps for family in Family)

    def put(self, number: int, intervals: Intervals) -> None:
        """Have exactly these in a set, for every packet that comes from now on."""
        self.put_all({number: intervals})

    def put_all(self, sets: Mapping[int, Intervals]) -> None:
        """The same for several sets: all of them are made before one is there."""
        made: dict[int, Map] = {}
        turned: list[int] = []
        try:
            for number, intervals in sets.items():
                made[number] = self._inner(intervals)
            for number, inner in made.items():
                turned.append(number)
                self._turn(number, inner)
        except BaseException:
            for number in turned:
                with suppress(BpfRefused):  # `is_whole` tells
                    self._turn(number, self.inner[number])
            for inner in made.values():
                inner.close()
            raise
        for number, inner in made.items():
            self.inner[number].close()
            self.inner[number] = inner

    def is_whole(self) -> bool:
        """Whether the kernel asks what was put there."""
        return all(
            self.outer.get(number.to_bytes(4, "little"))
            == programs.id_of(one.descriptor).to_bytes(4, "little")
            for number, one in enumerate(self.inner)
        )

    def close(self) -> None:
        """Let go of them."""
        for one in (self.outer, *self.inner):
            one.close()

    def _turn(self, number: int, inner: Map) -> None:
        descriptor = inner.descriptor.to_bytes(4, "little")
        self.outer.put(number.to_bytes(4, "little"), descriptor)

    def _inner(self, intervals: Intervals) -> Map:
        made = mapped_array("few", self.size)
        try:
            with made.mapped() as memory:
                for family, at in self.at.items():
                    bounds = bounds_of(intervals.of(family))
                    filled = _padded(family, bounds, self.steps)
                    memory[at : at + len(filled)] = filled
        except BaseException:
            made.close()
            raise
        return made


def bounds_of(those: Bounds) -> Words:
    """Where intervals begin, and what is behind their ends, in turn.

    For IPv6 two words each, the upper one first. The end of an interval that ends with
    the highest address is left out.
    """
    beyond, none_left = following(those.last)
    columns = []
    for first, behind in zip(digits(those.first), digits(beyond), strict=True):
        columns.append(np.ravel(np.column_stack((first, behind))))
    words: Words = np.column_stack(columns)
    return words[:-1] if len(those) and none_left[-1] else words


def _searched(family: Family, those: Bounds) -> Searched:
    words = bounds_of(those)
    most = _LARGEST // WIDTHS[family]
    # An interval is not cut: each map begins with the beginning of one.
    portion = most - 2 if len(words) >= most else max(len(words), 1)
    portion += portion % 2
    starts = range(0, max(len(words), 1), portion)
    steps = max(_FEWEST, min(portion, len(words)).bit_length())
    maps: list[Map] = []
    try:
        for start in starts:
            filled = _padded(family, words[start : start + portion], steps)
            made = mapped_array(f"spared_{family.label}", WIDTHS[family] << steps)
            maps.append(made)
            with made.mapped() as memory:
                memory[:] = filled
    except BaseException:
        for one in maps:
            one.close()
        raise
    begin = [_number(words[start]) if len(words) else 0 for start in starts]
    return Searched(tuple(maps), tuple(begin), steps)


def _padded(family: Family, words: Words, steps: int) -> bytes:
    kind = "<u4" if family is Family.IPV4 else "<u8"
    shape = (1 << steps, WIDTHS[family] // np.dtype(kind).itemsize)
    whole = np.full(shape, np.iinfo(kind).max, dtype=kind)
    whole[: len(words)] = words
    whole[-1] = len(words)
    return whole.tobytes()


def _number(words: NDArray[np.uint32] | NDArray[np.uint64]) -> int:
    value = 0
    for word in words.tolist():
        value = value << 64 | word
    return value
