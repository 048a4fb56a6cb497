# SPDX-License-Identifier: GPL-2.0-or-later
"""Until when the switch is on, with a table that only notes what it is told."""

from types import SimpleNamespace
from typing import cast

import pytest

from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.table.switch import BROKEN, ENDING, Switch


class Table:
    def __init__(self) -> None:
        self.told: list[float] = []

    def arm(self, seconds: float) -> None:
        self.told.append(seconds)

    def disarm(self) -> None:
        self.told.append(0)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    clock = iter(range(100, 1000, 10))
    playing = SimpleNamespace(monotonic=lambda: float(next(clock)))
    monkeypatch.setattr("vpngate.kernel.table.switch.time", playing)
    return Table()


def of(table: Table) -> Switch:
    return Switch(cast("OwnedTable", table))


def test_what_was_broken_is_on_for_the_rest_of_its_time(table: Table) -> None:
    one = of(table)
    assert one.arm(30)
    one.keep_off(BROKEN)
    assert not one.arm(30)  # 10 s later; not handed to the table
    one.let(BROKEN, wanted=True)  # another 10 s later
    assert table.told == [30, 0, 20]
    assert one.arm(30)


@pytest.mark.parametrize("wanted", [True, False])
def test_what_was_disarmed_or_is_not_wanted_stays_off(
    table: Table, *, wanted: bool
) -> None:
    one = of(table)
    one.arm(30)
    one.keep_off(BROKEN)
    if wanted:
        one.disarm()
    one.let(BROKEN, wanted=wanted)
    assert table.told == [30, 0, *([0] if wanted else [])]


def test_nothing_is_mended_that_was_not_broken(table: Table) -> None:
    one = of(table)
    one.arm(30)
    one.let(BROKEN, wanted=True)
    assert table.told == [30]


def test_it_stays_off_until_nothing_keeps_it_off(table: Table) -> None:
    one = of(table)
    one.arm(100)
    one.keep_off(BROKEN)
    one.keep_off(ENDING)
    one.let(BROKEN, wanted=True)
    assert table.told == [100, 0, 0]
    one.let(ENDING, wanted=True)
    assert table.told[3:] == [80]


def test_a_shorter_time_counts_from_now_and_a_longer_one_not_at_all(
    table: Table,
) -> None:
    one = of(table)
    one.arm(100)
    one.shorten(200)  # 90 s are left
    assert table.told == [100]
    one.shorten(30)
    assert table.told == [100, 30]
    one.disarm()
    one.shorten(5)
    assert table.told == [100, 30, 0]
