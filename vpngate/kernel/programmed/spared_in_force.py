# SPDX-License-Identifier: GPL-2.0-or-later
"""The registered addresses that programs search, and those made to take their place.

Knows that they are always made whole, in any thread, and turned to by stages made anew;
does not know verdicts. See `table/spared.py` for its twin, whose small steps there are
none of here: a million addresses are made in a fraction of a second, and nothing waits
for that.
"""

from collections.abc import Iterator, Sequence

from vpngate.kernel.bpf.spared_arrays import SparedArrays
from vpngate.kernel.programmed.programmed_table import TURN, ProgrammedTable
from vpngate.kernel.table import readback
from vpngate.kernel.table.spared import Batch
from vpngate.kernel.wire.channel import Change
from vpngate.packets import Family
from vpngate.prefixes.intervals import Bounds, Delta, Intervals
from vpngate.prefixes.rows import Rows
from vpngate.ruleset import names


class SparedInForce:
    """What is spared, as the stages have it."""

    def __init__(self, table: ProgrammedTable, held: Intervals) -> None:
        self.held = held
        self._table = table

    def begin(self, held: Intervals) -> None:
        """Before anything is asked: make what is to be held."""
        self.begin_anew(held)
        self.held = held

    def create(self) -> None:
        """Have it in force."""
        self._table.commit([TURN])

    def begin_anew(self, spared: Intervals) -> None:
        """Make others; in any thread, while nothing else is changed."""
        self._table.make_anew(SparedArrays.of(spared))

    def making(self) -> Iterator[list[Change]]:
        """Nothing is left to make."""
        return iter(())

    def filling(self, spared: Intervals) -> Iterator[tuple[str, Bounds]]:  # noqa: ARG002
        """Nor to fill."""
        return iter(())

    def fill(self, name: str, few: Bounds) -> None:
        """Never asked for."""
        raise NotImplementedError((name, few))

    def asking(self) -> list[Change]:
        """The changes that have stages ask those that were made last."""
        return [TURN]

    def turned(self, spared: Intervals) -> None:
        """Note that they do."""
        self.changed(spared)

    def changed(self, spared: Intervals) -> None:
        """Note what is spared now."""
        self.held = spared

    def abandon(self) -> None:
        """Those that were made last are not wanted, unless they are in force."""
        self._table.forget_made()

    def clear_away(self) -> bool:
        """The kernel does, once no program uses them."""
        return False

    def outgrows(self, spared: Intervals, delta: Delta) -> bool:  # noqa: ARG002
        """They are always made anew, if they differ at all."""
        return bool(len(delta.added) or len(delta.removed))

    def batches(self, delta: Delta) -> Iterator[Batch]:  # noqa: ARG002
        """There are no small changes."""
        return iter(())

    def apply(self, batch: Batch) -> None:
        """Never asked for."""
        raise NotImplementedError(batch)

    def take_back(self) -> bool:
        """Nothing is in force of what did not become whole."""
        return False

    def sample(self) -> Iterator[tuple[Family, Rows]]:
        """Some addresses to ask about, a few at a time."""
        for family in Family:
            for few in readback.in_steps(readback.sample(self.held.of(family), family)):
                yield family, few

    def agrees(self, family: Family, addresses: Rows) -> bool:
        """Whether the kernel spares those of the addresses that it should, no other."""
        if not self._table.is_whole():
            return False
        sets = self._sets(family, len(addresses))
        return readback.agrees(self._table, sets, self.held, addresses)

    def compare(self, family: Family, after: bytes | None) -> readback.Compared:
        """Compare the intervals behind an address with the kernel's, a few of them."""
        few = readback.behind(self.held.of(family), after)
        return readback.compare(self._table, self._sets(family, len(few)), few)

    def surplus(self, family: Family) -> int | None:
        """How many intervals the kernel has beyond those that it should."""
        count = self._table.count(self._sets(family, 1))
        return count - readback.counted(self.held.of(family))

    def _sets(self, family: Family, many: int) -> Sequence[str]:
        return [names.spared_set(family, 1)] * many
