# SPDX-License-Identifier: GPL-2.0-or-later
"""Until when the switch is on, with a table that only notes what it is told."""

from types import SimpleNamespace
from typing import cast

import pytest

from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.table.switch import Switch


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
    one.break_off()
    assert not one.arm(30)  # 10 s later; not handed to the table
    one.mended(wanted=True)  # another 10 s later
    assert table.told == [30, 0, 20]
    assert one.arm(30)


@pytest.mark.parametrize("wanted", [True, False])
def test_what_was_disarmed_or_is_not_wanted_stays_off(
    table: Table, *, wanted: bool
) -> None:
    one = of(table)
    one.arm(30)
    one.break_off()
    if wanted:
        one.disarm()
    one.mended(wanted=wanted)
    assert table.told == [30, 0, *([0] if wanted else [])]


def test_nothing_is_mended_that_was_not_broken(table: Table) -> None:
    one = of(table)
    one.arm(30)
    one.mended(wanted=True)
    assert table.told == [30]
