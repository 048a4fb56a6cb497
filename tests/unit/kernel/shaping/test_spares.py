# SPDX-License-Identifier: GPL-2.0-or-later
"""Classes that are made before somebody needs them: how many, and which are used."""

from typing import cast

from tests.unit.kernel.shaping.test_classes import Ifbs
from vpngate.kernel.shaping.classes import Classes
from vpngate.kernel.shaping.places import IfbPlaces
from vpngate.kernel.shaping.shaper import Shaper
from vpngate.kernel.shaping.spares import Spares


class Site:
    """Places, classes and spares, with a shaper that notes what it would make."""

    def __init__(self, ifbs: int = 64, slots: int = 2047) -> None:
        self.shaper = Ifbs()
        self.places = IfbPlaces(ifbs, slots)
        self.classes = Classes(cast("Shaper", self.shaper))
        self.spares = Spares(self.places, self.classes)

    def settle(self, used: int) -> None:
        """Go on until nothing more is to be made ready."""
        while self.spares.advance(used):
            pass


def test_a_few_subscribers_ask_for_none() -> None:
    site = Site()
    site.settle(999)
    assert not site.places.ready
    assert not site.shaper.classes


def test_many_have_a_third_ready_which_newcomers_take_without_a_new_class() -> None:
    site = Site()
    used = [site.places.take(bytes(4)) for _ in range(2000)]
    site.classes.make(used)
    site.settle(2000)
    ready = list(site.places.ready)
    assert len(ready) == 666
    assert set(ready).isdisjoint(used)
    made = len(site.shaper.classes)
    newcomers = [site.places.take(bytes(4)) for _ in range(666)]
    site.classes.make(newcomers)
    assert newcomers == ready
    assert len(site.shaper.classes) == made == 2666
    assert site.places.take(bytes(4)) not in {*used, *ready}


def test_a_place_that_is_left_is_kept_ready_with_its_classes() -> None:
    site = Site()
    used = [site.places.take(bytes(4)) for _ in range(2000)]
    site.classes.make(used)
    site.settle(2000)
    newcomer = site.places.take(bytes(4))
    site.places.give_back(used[0])
    assert site.places.ready[-1] == used[0]
    for now in (0.0, 9.0):
        site.classes.remove_idle({newcomer, *used[1:], *site.places.ready}, now)
    site.classes.advance()
    assert site.classes.has(used[0])


def test_when_many_leave_those_too_many_are_given_up_and_none_twice() -> None:
    site = Site()
    used = [site.places.take(bytes(4)) for _ in range(4000)]
    site.settle(4000)
    for place in used[100:]:
        site.places.give_back(place)
    site.settle(100)
    assert not site.places.ready
    again = [site.places.take(bytes(4)) for _ in range(64 * 2047 - 100)]
    assert len({*again, *used[:100]}) == 64 * 2047


def test_where_no_place_is_free_none_is_ready_and_others_share() -> None:
    site = Site(ifbs=2, slots=700)
    used = {site.places.take(bytes(4)) for _ in range(1300)}
    site.settle(1300)
    assert len(site.places.ready) == 100
    used |= {site.places.take(bytes(4)) for _ in range(100)}
    assert len(used) == 1400
    site.settle(1400)
    assert not site.places.ready
    assert site.places.take(bytes(4)) in used


def test_nothing_is_made_ready_while_somebody_waits_for_a_class() -> None:
    site = Site()
    site.classes.rebuild(range(1, 12))
    assert not site.spares.advance(5000)
    assert not site.places.ready
