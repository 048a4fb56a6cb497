# SPDX-License-Identifier: GPL-2.0-or-later
"""In which order the way to the slow class is mended, with parts that note it."""

from collections.abc import Collection
from typing import cast

import pytest

from vpngate.errors import KernelRefused
from vpngate.kernel.detour.throttled import Throttled
from vpngate.kernel.shaping.shaper import Shaper
from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.table.switch import BROKEN, Switch
from vpngate.kernel.way import Way
from vpngate.kernel.wire.links import Announcement, Link, What

RATE = 5_000_000


class Table:
    """The switch alone."""

    armed = False

    def arm(self, _seconds: float) -> None:
        self.armed = True

    def disarm(self) -> None:
        self.armed = False


class Ifbs:
    """A shaper whose ifbs are whatever is said to be there."""

    rate = 0
    packet = 0
    indexes: frozenset[int] = frozenset()

    def __init__(self) -> None:
        self.devices: set[int] = set()
        self.gone: list[int] = []
        self.fails = False

    def begin(self, rate: int, packet: int) -> None:
        self.set(rate, packet)
        self.build(0)

    def set(self, rate: int, packet: int) -> None:
        self.rate, self.packet = rate, packet

    def build(self, number: int) -> None:
        if self.fails:
            raise KernelRefused("no room for an ifb")
        self.devices.add(number)
        self.gone = [one for one in self.gone if one != number]

    def missing(self) -> list[int]:
        return list(self.gone)

    def is_down(self, link: Link) -> bool:
        return not link.up

    def remove_all(self) -> None:
        if self.fails:
            raise KernelRefused("no answer")
        self.devices.clear()

    def there(self) -> Collection[int]:
        return self.devices

    def remove_next(self) -> bool:
        if self.devices:
            self.devices.remove(max(self.devices))
            return True
        return False


class Flows:
    """Verdicts, and classes that are changed one step after the other."""

    def __init__(self) -> None:
        self.classes = self
        self.waiting = 0
        self.left: list[int] = []  # ifbs that were read a last time

    def change(self) -> None:
        self.waiting = 3

    def advance(self) -> bool:
        self.waiting = max(self.waiting - 1, 0)
        return bool(self.waiting)

    def lost(self, _number: int) -> None: ...

    def leave(self, number: int) -> None:
        self.left.append(number)

    def move(self) -> bool:
        return False

    def dismantled(self) -> None:
        self.waiting = 0


class Stage:
    """A way that is in use, with two ifbs, and armed."""

    def __init__(self) -> None:
        self.table = Table()
        self.switch = Switch(cast("OwnedTable", self.table))
        self.ifbs = Ifbs()
        self.flows = Flows()
        self.way = Way(
            self.switch, cast("Shaper", self.ifbs), cast("Throttled", self.flows)
        )
        self.way.build(RATE)
        self.ifbs.devices = {0, 1}
        self.way.fit(RATE, wanted=True)
        self.switch.arm(600)

    def is_armed(self) -> bool:
        return self.table.armed

    def finish(self) -> None:
        for _ in range(100):
            if not self.way.advance():
                return
        pytest.fail("it never ends")


def test_an_ifb_that_could_not_be_made_anew_is_not_made_once_all_go() -> None:
    stage = Stage()
    stage.ifbs.gone, stage.ifbs.fails = [1], True
    assert stage.way.is_broken()
    with pytest.raises(KernelRefused):
        stage.finish()
    stage.ifbs.fails = False
    stage.way.to_vacate = True
    stage.way.fit(RATE, wanted=False)
    stage.way.vacate()
    stage.finish()
    assert stage.ifbs.devices == set()
    assert stage.flows.left == [1, 0]  # one a step: others have their turn between
    assert not stage.switch.is_kept_off(BROKEN)


def test_ifbs_that_could_not_be_removed_at_once_are_removed_all_the_same() -> None:
    stage = Stage()
    stage.ifbs.fails = True
    stage.way.fit(RATE, wanted=False)
    with pytest.raises(KernelRefused):
        stage.way.remove()
    stage.finish()
    assert stage.ifbs.devices == set()


def test_nothing_is_slowed_until_all_queues_take_larger_packets() -> None:
    stage = Stage()
    stage.way.packet = 9000
    stage.way.fit(RATE, wanted=True)
    while stage.flows.waiting:
        assert not stage.is_armed()
        stage.way.advance()
    stage.finish()
    assert stage.is_armed()


def test_an_ifb_lost_while_another_is_made_anew_keeps_it_off() -> None:
    stage = Stage()
    stage.ifbs.gone = [1]
    assert stage.way.is_broken()
    stage.way.advance()
    stage.ifbs.gone = [0]
    assert stage.way.advance()
    assert not stage.is_armed()
    stage.finish()
    assert stage.is_armed()
    assert stage.ifbs.devices == {0, 1}


def test_what_was_unfit_as_slowing_ended_keeps_nothing_off_afterwards() -> None:
    stage = Stage()
    stage.way.packet = 9000
    stage.way.fit(RATE, wanted=True)
    stage.way.to_vacate = True
    stage.way.fit(RATE, wanted=False)
    stage.way.vacate()
    stage.way.build(RATE)  # at once again
    stage.way.fit(RATE, wanted=True)
    stage.finish()
    assert stage.is_armed()


def test_lost_announcements_endanger_the_way_until_it_has_been_looked_at() -> None:
    stage, lost = Stage(), Announcement(What.UNKNOWN)
    assert not stage.way.endangers(lost), "there is no ifb"
    stage.ifbs.indexes = frozenset({7})
    assert stage.way.endangers(lost)
    stage.way.break_off()
    assert not stage.is_armed()
    stage.finish()  # nothing was amiss
    assert stage.is_armed()
