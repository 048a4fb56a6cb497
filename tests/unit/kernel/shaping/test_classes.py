# SPDX-License-Identifier: GPL-2.0-or-later
"""How much of the work on many classes is done at once, with a shaper that notes it."""

from collections.abc import Iterable
from typing import cast

from vpngate.kernel.shaping.classes import Classes
from vpngate.kernel.shaping.places import SLOTS, ifb_of
from vpngate.kernel.shaping.shaper import Shaper


class Ifbs:
    """What a shaper would have made, and how many ifbs since it was last asked."""

    def __init__(self) -> None:
        self.numbers = [0]
        self.classes: list[int] = []
        self.fresh = 0

    def have(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if number not in self.numbers:
                self.numbers.append(number)
                self.fresh += 1

    def add_classes(self, places: Iterable[int], *, anew: bool = True) -> None:
        for place in places:
            assert ifb_of(place) in self.numbers
            if anew:
                self.classes.append(place)

    def read(self, _number: int) -> dict[int, object]:
        return {}


def test_no_step_makes_more_than_one_ifb() -> None:
    ifbs = Ifbs()
    classes = Classes(cast("Shaper", ifbs))
    places = [number * (SLOTS + 1) + 1 for number in range(25)]
    classes.rebuild(places)
    more = True
    while more:
        ifbs.fresh = 0
        more = classes.advance()
        assert ifbs.fresh <= 1
    assert sorted(ifbs.classes) == places
    assert not classes.waiting
