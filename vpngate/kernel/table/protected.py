# SPDX-License-Identifier: GPL-2.0-or-later
"""The small sets of protected addresses, which no change of the registry touches.

Knows what they should hold, and whether the kernel's answers are the right ones; does
not know who protects whom. They are always written whole, in one transaction: so it
is of no matter what the kernel had. One thread alone may change them.

The witness asks sets of its own: who is protected no more leaves both at once, who has
just been protected is added there once that no packet of his can be on its way.
"""

import time
from typing import NamedTuple

from vpngate.kernel.table import readback
from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.wire.failures import Unanswered
from vpngate.packets import Family
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import names
from vpngate.ruleset.witnessing import SETTLING

_SAMPLE = 120  # addresses of each family: they are few


class Look(NamedTuple):
    """What a look has shown: either a change was broken off before, or it was not.

    doubted  the kernel may have held something else; it was not asked
    apart    it gave wrong answers
    """

    doubted: bool
    apart: bool


class ProtectedSets:
    """A set for each family, which rules always ask."""

    def __init__(self, table: OwnedTable) -> None:
        self.held = Intervals.empty()
        self._watched = self._young = Intervals.empty()  # by the witness, and soon
        self._young_since = 0.0
        self._some_young = False  # whether the witness does not ask for all yet
        self._table = table
        self.doubted = False  # whether the kernel may hold something else

    def put(self, protected: Intervals) -> None:
        """From now on exactly these; on an error, those that were."""
        now = time.monotonic()
        watched, young, since = self._watched, self._young, self._young_since
        if now - since >= SETTLING or watched.covers(young):
            watched, young, since = watched.union(young), protected, now
        watched = _both(watched, protected)
        self._table.changed = now
        try:
            self._table.protect(protected, watched)
        except Unanswered:
            self.doubted = True
            raise
        self.held, self._watched = protected, watched
        self._young, self._young_since = _both(young, protected), since
        self._some_young = not watched.covers(protected)
        self.doubted = False

    @property
    def are_ripe(self) -> bool:
        """Whether some are who have been protected for long enough; from any thread."""
        return self._some_young and time.monotonic() - self._young_since >= SETTLING

    def ripen(self) -> None:
        """Have the witness ask for those who have been protected for long enough."""
        if self.are_ripe:
            changed = self._table.changed
            try:
                self.put(self.held)
            finally:
                self._table.changed = changed  # nobody was added

    def look(self) -> Look:
        """Whether they are in doubt; else, whether the kernel gives wrong answers."""
        doubted = self.doubted
        return Look(doubted, not doubted and not self._in_sync())

    def put_anew(self) -> None:
        """Write them as they should be."""
        self.put(self.held)

    def compare(self, family: Family, after: bytes | None) -> readback.Compared:
        """Compare the intervals behind an address with the kernel's, a few of them."""
        few = readback.behind(self.held.of(family), after)
        sets = [names.protected_set(family)] * len(few)
        return readback.compare(self._table, sets, few)

    def surplus(self, family: Family) -> int | None:
        """How many intervals the kernel has beyond those that it should; None: unknown.

        To be asked when those that it should have are all there.
        """
        count = self._table.count([names.protected_set(family)])
        return None if count is None else count - readback.counted(self.held.of(family))

    def _in_sync(self) -> bool:
        return all(
            readback.agrees(self._table, [name] * len(rows), self.held, rows)
            for family in Family
            for name in [names.protected_set(family)]
            for rows in [readback.sample(self.held.of(family), family, _SAMPLE)]
        )


def _both(one: Intervals, other: Intervals) -> Intervals:
    """The addresses that are in both."""
    return one.difference(one.difference(other))
