# SPDX-License-Identifier: GPL-2.0-or-later
"""The sets of spared addresses: those that rules ask, and those filled beside them.

Knows which generation of the sets is which, what those that rules ask should hold, how
much a transaction takes, and whether the kernel's answers are the right ones; does not
know rules or verdicts. One thread alone may change it.
"""

import time
from collections.abc import Iterator

from vpngate.kernel.table import readback
from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.table.pace import Pace
from vpngate.kernel.wire.channel import Change
from vpngate.packets import Family
from vpngate.prefixes.intervals import Bounds, Intervals
from vpngate.prefixes.rows import Rows
from vpngate.ruleset import names

# A transaction: at first, at least, at most.
_INTERVALS = (2_000, 500, 20_000)


class SparedSets:
    """A set for each family, of one generation or, during a large change, of two."""

    def __init__(self, table: OwnedTable, held: Intervals) -> None:
        self.held = held  # what the sets that rules name should hold
        self.asked = 1  # the generation that rules name
        self.newest = 1  # the one that is filled; never given twice
        self._table = table
        self._pace = Pace(*_INTERVALS)

    def create(self) -> None:
        """Make the first sets, empty; MissingFeature if the kernel has none."""
        self._table.introduce(self._table.new_spared(self.newest))

    def begin_anew(self) -> None:
        """Make empty sets beside those that rules ask."""
        self.newest += 1
        self._table.commit(self._table.new_spared(self.newest))

    def parts(self, spared: Intervals) -> Iterator[tuple[Family, Bounds]]:
        """What to `fill` the newest sets with, as much at a time as is good."""
        for family in Family:
            bounds = spared.of(family)
            start = 0
            while start < len(bounds):
                part = slice(start, start + self._pace.size)
                yield family, Bounds(bounds.first[part], bounds.last[part])
                start = part.stop

    def fill(self, family: Family, few: Bounds) -> None:
        """Put a few more intervals into a newest set."""
        begin = time.monotonic()
        self._table.fill(self.newest, family, few)
        self._pace.took(len(few), time.monotonic() - begin)

    def removal(self) -> list[Change]:
        """The changes that remove all other sets, once rules ask the newest."""
        return self._table.other_spared(self.newest)

    def turned(self, spared: Intervals) -> None:
        """Note that rules ask the newest sets, which hold these; no other is left."""
        self.asked = self.newest
        self.held = spared

    def changed(self, spared: Intervals) -> None:
        """Note that the sets that rules ask hold these now."""
        self.held = spared

    def abandon(self) -> None:
        """Remove the sets that were to be filled, if there are any."""
        self._table.commit(self._table.other_spared(self.asked))

    def sample(self) -> Iterator[tuple[Family, Rows]]:
        """Some addresses to ask about, a few at a time."""
        for family in Family:
            for few in readback.in_steps(readback.sample(self.held.of(family), family)):
                yield family, few

    def agrees(self, family: Family, addresses: Rows) -> bool:
        """Whether the kernel spares those of the addresses that it should, no other."""
        return readback.agrees(self._table, self._name(family), self.held, addresses)

    def compare(self, family: Family, after: bytes | None) -> readback.Compared:
        """Compare the intervals behind an address with the kernel's, a few of them."""
        bounds = self.held.of(family)
        return readback.compare(self._table, self._name(family), bounds, after)

    def surplus(self, family: Family) -> int | None:
        """How many intervals the kernel has beyond those that it should; None: unknown.

        To be asked when those that it should have are all there.
        """
        count = self._table.count(self._name(family))
        return None if count is None else count - readback.counted(self.held.of(family))

    def _name(self, family: Family) -> str:
        return names.spared_set(family, self.asked)
