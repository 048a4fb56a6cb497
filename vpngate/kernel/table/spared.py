# SPDX-License-Identifier: GPL-2.0-or-later
"""The sets of registered addresses: those that rules ask, and those filled beside them.

Knows which generation of the sets is which, what those that rules ask should hold, how
much a transaction takes, and whether the kernel's answers are the right ones; does not
know verdicts. One thread alone may change it.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vpngate.kernel.table import readback
from vpngate.kernel.table.cut import Cut, of_another
from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.table.pace import Pace
from vpngate.kernel.wire import elements, messages
from vpngate.kernel.wire.channel import Change
from vpngate.packets import Family
from vpngate.prefixes.intervals import Bounds, Delta, Intervals
from vpngate.prefixes.rows import Rows

# Intervals a transaction, at first, at least and at most: filled in, and, where a few
# of a set change, gone through.
_FILLED = (2_000, 500, 20_000)
_GONE_THROUGH = (32_000, 1, 256_000)
_EACH = 8  # times as much work is a change as an interval that is gone through
_AWAY_AT_ONCE = 2  # sets
_CHANGED = 4_000  # intervals of one part in one transaction, at most


class Part(NamedTuple):
    """What a part loses and gains."""

    name: str
    removed: Bounds
    added: Bounds

    def changes(self, table: str) -> list[Change]:
        """The changes that do it."""
        return [
            *elements.delete_intervals(table, self.name, self.removed),
            *elements.add_intervals(table, self.name, self.added),
        ]

    @property
    def undone(self) -> "Part":
        """What takes it back."""
        return Part(self.name, self.added, self.removed)


class Batch(NamedTuple):
    """A few parts that are changed in one transaction."""

    parts: list[Part]
    work: int

    def changes(self, table: str, *, back: bool = False) -> list[Change]:
        """The changes that do it, or take it back."""
        return [
            change
            for part in self.parts
            for change in (part.undone if back else part).changes(table)
        ]


class SparedSets:
    """The sets of one generation or, during a large change, of two."""

    def __init__(self, table: OwnedTable, held: Intervals) -> None:
        self.held = held  # what the sets that rules name should hold
        self.cut = Cut(1, Intervals.empty())  # of those
        self.newest = self.cut  # of those that are filled
        self._pieces = held
        self._table = table
        self._filled = Pace(*_FILLED)
        self._gone_through = Pace(*_GONE_THROUGH)
        self._generations = 1
        self._away: deque[list[Change]] = deque()
        self._applied: list[Batch] = []  # of a change that is not whole yet

    @property
    def asked(self) -> int:
        """The generation that rules ask."""
        return self.cut.generation

    def begin(self, held: Intervals) -> None:
        """Before anything is asked: lay out for what is to be held."""
        self.cut = self.newest = Cut(1, held)
        self.changed(held)

    def create(self) -> None:
        """Make what asks the first sets; MissingFeature if the kernel has none."""
        self._table.introduce(self.cut.entrances(self._table.name))

    def begin_anew(self, spared: Intervals) -> None:
        """Lay out others; in any thread."""
        self._generations += 1  # never given twice
        self.newest = Cut(self._generations, spared)

    def making(self) -> Iterator[list[Change]]:
        """The changes that make the newest sets, empty, a few at a time."""
        return self.newest.making(self._table.name)

    def filling(self, spared: Intervals) -> Iterator[tuple[str, Bounds]]:
        """What to `fill` the newest sets with, as much at a time as is good."""
        pieces = self.newest.pieces(spared)
        for family in Family:
            bounds = pieces.of(family)
            ends = self.newest.ends(family, bounds).tolist()
            start = 0
            for name, end in zip(self.newest.names(family), ends, strict=True):
                while start < end:
                    part = slice(start, min(start + self._filled.size, end))
                    yield name, Bounds(bounds.first[part], bounds.last[part])
                    start = part.stop

    def fill(self, name: str, few: Bounds) -> None:
        """Put a few more intervals into a newest set."""
        begin = time.monotonic()
        self._table.fill(name, few)
        self._filled.took(len(few), time.monotonic() - begin)

    def asking(self) -> list[Change]:
        """The changes that have rules ask the newest sets."""
        return [*self.newest.asking(self._table.name), *self._table.settling()]

    def turned(self, spared: Intervals) -> None:
        """Note that rules ask the newest sets, which hold these."""
        self.cut = self.newest
        self.changed(spared)

    def changed(self, spared: Intervals) -> None:
        """Note that the sets that rules ask hold these now."""
        self.held = spared
        self._applied.clear()
        self._pieces = self.cut.pieces(spared)

    def abandon(self) -> None:
        """Fill no others; what there is of them is cleared away."""
        self.newest = self.cut
        self._away.clear()

    def clear_away(self) -> bool:
        """Remove a few sets that nobody asks or fills; whether there are more."""
        if not self._away:
            self._away.extend(self._leftovers())
        else:
            few = self._away.popleft()
            try:
                self._table.commit(few)
            except BaseException:
                self._away.clear()  # it is looked at anew
                raise
        return bool(self._away)

    def _leftovers(self) -> Iterator[list[Change]]:
        """What is of another generation: maps, the chains they lead to, their sets."""
        table = self._table
        sets = [name for name in table.sets() if of_another(name, self.asked)]
        chains = [name for name in table.chains() if of_another(name, self.asked)]
        maps = [name for name in sets if name.startswith("parts_")]
        yield from ([messages.delete_set(table.name, name)] for name in maps)
        for start in range(0, len(chains), 2 * _AWAY_AT_ONCE):
            few = chains[start : start + 2 * _AWAY_AT_ONCE]
            rules = [messages.delete_rules(table.name, name) for name in few]
            yield rules + [messages.delete_chain(table.name, name) for name in few]
        rest = [name for name in sets if name not in maps]
        for start in range(0, len(rest), _AWAY_AT_ONCE):
            few = rest[start : start + _AWAY_AT_ONCE]
            yield [messages.delete_set(table.name, name) for name in few]

    def outgrows(self, spared: Intervals, delta: Delta) -> bool:
        """Whether these, or what leads to them, are too many for a part as it is cut.

        In any thread.
        """
        for family in Family:
            sides = [each.of(family).first for each in delta]
            parts = self.cut.part_of(family, np.concatenate(sides))
            if len(parts) and np.bincount(parts).max() > _CHANGED:
                return True
        return self.cut.overgrown(self.cut.pieces(spared))

    def batches(self, delta: Delta) -> Iterator[Batch]:
        """A change part by part, as many parts at a time as are quickly changed.

        Of a delta that `held` leads to something else by. Each address is in one
        part, so that it is spared or not at any moment as one of both says.
        """
        parts: list[Part] = []
        work = 0
        for part, size in self._changed_parts(delta):
            own = size + _EACH * (len(part.removed) + len(part.added))
            if parts and work + own > self._gone_through.size:
                yield Batch(parts, work)
                parts, work = [], 0
            parts.append(part)
            work += own
        if parts:
            yield Batch(parts, work)

    def apply(self, batch: Batch) -> None:
        """Change a few parts."""
        begin = time.monotonic()
        changes = batch.changes(self._table.name)
        self._table.commit([*changes, *self._table.settling()])
        self._gone_through.took(batch.work, time.monotonic() - begin)
        self._applied.append(batch)

    def take_back(self) -> bool:
        """Take back a few changes of what did not become whole; whether there are more.

        What cannot be taken back is forgotten: fresh sets are due.
        """
        if self._applied:
            batch = self._applied.pop()
            try:
                changes = batch.changes(self._table.name, back=True)
                self._table.commit([*changes, *self._table.settling()])
            except BaseException:
                self._applied.clear()
                raise
        return bool(self._applied)

    def _changed_parts(self, delta: Delta) -> Iterator[tuple[Part, int]]:
        removed, added = map(self.cut.pieces, (delta.removed, delta.added))
        for family in Family:
            lost, gained = removed.of(family), added.of(family)
            parts_lost = self.cut.part_of(family, lost.first)
            parts_gained = self.cut.part_of(family, gained.first)
            names = self.cut.names(family)
            held = self._pieces.of(family)
            sizes = np.diff(self.cut.ends(family, held), prepend=0)
            for part in np.union1d(parts_lost, parts_gained).tolist():
                less = _of_part(lost, parts_lost, part)
                more = _of_part(gained, parts_gained, part)
                yield Part(names[part], less, more), int(sizes[part])

    def sample(self) -> Iterator[tuple[Family, Rows]]:
        """Some addresses to ask about, a few at a time."""
        for family in Family:
            for few in readback.in_steps(readback.sample(self.held.of(family), family)):
                yield family, few

    def agrees(self, family: Family, addresses: Rows) -> bool:
        """Whether the kernel spares those of the addresses that it should, no other."""
        names = self._sets_of(family, addresses)
        return readback.agrees(self._table, names, self.held, addresses)

    def compare(self, family: Family, after: bytes | None) -> readback.Compared:
        """Compare the intervals behind an address with the kernel's, a few of them."""
        few = readback.behind(self._pieces.of(family), after)
        names = self._sets_of(family, few.first)
        return readback.compare(self._table, names, few)

    def surplus(self, family: Family) -> int | None:
        """How many intervals the kernel has beyond those that it should; None: unknown.

        To be asked when those that it should have are all there.
        """
        count = self._table.count(self.cut.names(family))
        should = readback.counted(self._pieces.of(family))
        return None if count is None else count - should

    def _sets_of(self, family: Family, addresses: Rows) -> Sequence[str]:
        names = self.cut.names(family)
        return [names[part] for part in self.cut.part_of(family, addresses)]


def _of_part(bounds: Bounds, parts: NDArray[np.intp], part: int) -> Bounds:
    chosen = slice(*np.searchsorted(parts, [part, part + 1]))
    return Bounds(bounds.first[chosen], bounds.last[chosen])
