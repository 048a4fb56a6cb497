# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is newly protected is no witness yet, and who is so no more never again."""

from types import SimpleNamespace
from typing import cast

import pytest

from vpngate.kernel.table import protected
from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.table.protected import ProtectedSets
from vpngate.prefixes.intervals import Intervals


class Table:
    """Holds what it is given."""

    changed = 0.0
    protected = watched = Intervals.empty()

    def protect(self, protected: Intervals, watched: Intervals) -> None:
        assert protected.covers(watched)
        self.protected, self.watched = protected, watched


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    one = SimpleNamespace(now=100.0)
    one.monotonic = lambda: one.now
    monkeypatch.setattr(protected, "time", one)
    return one


def some(*names: str) -> Intervals:
    return Intervals.of_prefixes(f"192.0.2.{name}/32" for name in names)


def test_the_witness_asks_for_who_has_been_protected_for_a_while(
    clock: SimpleNamespace,
) -> None:
    table = Table()
    sets = ProtectedSets(cast("OwnedTable", table))
    sets.put(some("1"))
    for seconds, watched in ((4, some()), (1, some("1"))):
        clock.now += seconds
        assert sets.are_ripe == bool(len(watched))
        sets.ripen()
        assert table.watched == watched
        assert not sets.are_ripe
    sets.put(some("1", "2"))
    assert table.watched == some("1")
    sets.put(some("2"))
    assert table.watched == some()
    clock.now += 5
    sets.ripen()
    assert table.watched == table.protected == some("2")


def test_addresses_that_come_all_the_time_keep_nobody_unwatched(
    clock: SimpleNamespace,
) -> None:
    table = Table()
    sets = ProtectedSets(cast("OwnedTable", table))
    for number in range(1, 60):
        clock.now += 1
        sets.put(some(*map(str, range(1, number + 1))))
        sets.ripen()
        old = max(0, number - 12)
        assert table.watched.covers(some(*map(str, range(1, old + 1))))
        young = some(*map(str, range(max(1, number - 4), number + 1)))
        assert young.difference(table.watched) == young
