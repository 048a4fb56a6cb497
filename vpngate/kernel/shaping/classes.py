# SPDX-License-Identifier: GPL-2.0-or-later
"""The classes of all places: made when first needed, mended, removed when idle.

Knows which places have their two classes, and which still wait for them; does not
know whose they are. One thread alone may use it. Times are of a clock that never
jumps, in seconds.

Whatever may be many is done a few at a time, or an ifb at a time: others must have
their turn, too. What is left to do is done by `advance`, step by step.
"""

import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from itertools import islice

from vpngate.errors import KernelRefused, MachineFault
from vpngate.kernel.shaping.passed import Passed, Tally, Through
from vpngate.kernel.shaping.places import ifb_of, minor
from vpngate.kernel.shaping.readings import ClassReading
from vpngate.kernel.shaping.shaper import Shaper
from vpngate.kernel.table.pace import HOLD
from vpngate.packets import Direction

_AT_ONCE = 10  # places to make or change classes of, at the most
_REMOVED_AT_ONCE = 50  # places
# After its last verdict a class is kept so long: packets may still be on their way.
_REST = 2.0
# So many queues of an ifb are asked about at a look: each answer is one of its own.
_SAMPLE = 16


class Classes:
    """The two classes of each place that is in use, or ready to be."""

    def __init__(self, shaper: Shaper) -> None:
        self._shaper = shaper
        self._made: dict[int, float | None] = {}  # place: idle since
        self._waiting: dict[int, None] = {}  # places to make or change, in order
        self._resting: dict[int, float] = {}  # ifbs with classes to remove, as of when
        self._looked: dict[int, int] = {}  # ifbs: queues asked about so far
        self._tally = Tally()
        self._through = Through()
        self._each = HOLD / _AT_ONCE  # seconds that a place took of late

    def has(self, place: int) -> bool:
        """Whether a place has its classes."""
        return place in self._made

    @property
    def at_once(self) -> int:
        """Of how many places the classes may be made in one step."""
        return min(max(int(HOLD / self._each), 1), _AT_ONCE)

    def make(self, places: Iterable[int]) -> None:
        """Make the classes of places in use, of those that have none yet.

        If it cannot be done now (an ifb may be gone this moment), it has to wait.
        """
        missing: dict[int, None] = {}
        for place in places:
            if place in self._made:
                self._made[place] = None
            elif place not in self._waiting:
                missing[place] = None
        if not missing:
            return
        try:
            self._shaper.have({ifb_of(place) for place in missing})
            self._add(missing)
        except MachineFault:
            self._waiting |= missing
        else:
            self._made |= missing

    def rebuild(self, places: Iterable[int]) -> None:
        """Have none, and all of these made, step by step."""
        for number in self._shaper.numbers:
            self.leave(number)
        self.forget()
        self._waiting = dict.fromkeys(places)

    def forget(self) -> None:
        """Have none, and none to make: the devices go."""
        self._made.clear()
        self._resting.clear()
        self._waiting.clear()

    def lost(self, number: int) -> None:
        """Have the classes of an ifb made again, step by step, on one that is new.

        Until its class is made, a flow's packets pass the ifb unslowed.
        """
        self.leave(number)
        lost = [place for place in self._made if ifb_of(place) == number]
        for place in lost:
            del self._made[place]
        self._waiting |= dict.fromkeys(lost)

    def leave(self, number: int) -> None:
        """Take in what an ifb's classes have done: they are gone, or go with it."""
        with suppress(KernelRefused):  # there may be nothing left to read
            self._take(number, self._shaper.read(number))
        self._tally.all_gone(number)

    def change(self) -> None:
        """Have all classes changed to what is in force for them now, step by step."""
        self._waiting |= dict.fromkeys(self._made)

    @property
    def waiting(self) -> bool:
        """Whether any class is still to be made or changed."""
        return bool(self._waiting)

    def advance(self) -> bool:
        """Make, change or remove a few classes that wait for it; whether more do.

        One that cannot be made is tried again by the next round of somebody else's.
        """
        if self._waiting:
            few = list(islice(self._waiting, self.at_once))
            new = [place for place in few if place not in self._made]
            absent = {ifb_of(place) for place in new}.difference(self._shaper.numbers)
            if absent:  # one of them takes as long as others should have to wait
                self._shaper.have([min(absent)])
                return True
            self._add(new)
            old = [place for place in few if place in self._made]
            self._shaper.add_classes(old, anew=False)
            for place in few:
                del self._waiting[place]
                self._made.setdefault(place)
        elif self._resting:
            self._remove_some(*self._resting.popitem())
        return bool(self._waiting or self._resting)

    def _add(self, places: Collection[int]) -> None:
        if places:
            begin = time.monotonic()
            self._shaper.add_classes(places)
            taken = (time.monotonic() - begin) / len(places)
            self._each = (self._each + taken) / 2

    def remove_idle(self, used: Collection[int], now: float) -> None:
        """Have classes removed that are not used and in which nothing waits."""
        for place, since in self._made.items():
            if place in used:
                self._made[place] = None
            elif since is None:
                self._made[place] = now
            elif now - since >= _REST:
                self._resting[ifb_of(place)] = now

    def _remove_some(self, number: int, now: float) -> None:
        """Of one ifb; a place that has come into use since has its classes kept."""
        found = self._shaper.read(number)
        resting = (
            place
            for place, since in self._made.items()
            if ifb_of(place) == number and since is not None and now - since >= _REST
        )
        for place in list(islice(resting, _REMOVED_AT_ONCE)):
            numbers = [minor(place, direction) for direction in Direction]
            pair = {n: found[n] for n in numbers if n in found}
            if any(one.backlog for one in pair.values()):
                continue
            self._shaper.remove_classes([place])
            self._take(number, pair)
            self._tally.gone(number << 16 | n for n in numbers)
            del self._made[place]
            self._waiting.pop(place, None)

    def check(self, number: int) -> bool:
        """Look at the classes of an ifb; whether some are not what they should be.

        Those are made again, step by step. If it has none of them, something else has
        taken its root's place, and it counts as missing. Of the queues a few are
        looked at, others the next time.
        """
        found = self._shaper.read(number)
        expected = [
            (place, direction)
            for place in self._made
            if ifb_of(place) == number and place not in self._waiting
            for direction in Direction
        ]
        if expected and not any(minor(*one) in found for one in expected):
            self._shaper.doubt(number)
            return False
        wrong = [one for one in expected if not self._is_as_made(found, *one)]
        unqueued = [one for one in expected if not self._leads_on(found, *one)]
        unqueued += self._without_queue(number, expected)
        for place, direction in unqueued:
            self._shaper.remove_leaf(place, direction)
            self._made.pop(place, None)
        for place, direction in wrong:
            if minor(place, direction) not in found:
                self._tally.gone([number << 16 | minor(place, direction)])
                self._made.pop(place, None)
        self._waiting |= dict.fromkeys(place for place, _ in wrong + unqueued)
        return bool(wrong or unqueued)

    def _is_as_made(
        self, found: dict[int, ClassReading], place: int, direction: Direction
    ) -> bool:
        reading = found.get(minor(place, direction))
        return reading is not None and self._shaper.is_as_made(reading)

    def _leads_on(
        self, found: dict[int, ClassReading], place: int, direction: Direction
    ) -> bool:
        """Whether a class that is there has a queue of the handle that it should."""
        number = minor(place, direction)
        return number not in found or found[number].leaf == number << 16

    def _without_queue(
        self, number: int, expected: list[tuple[int, Direction]]
    ) -> Iterator[tuple[int, Direction]]:
        """Those of a sample whose queue is not what it should be."""
        start = self._looked.get(number, 0)
        if start >= len(expected):
            start = 0
        self._looked[number] = start + _SAMPLE
        for one in expected[start : start + _SAMPLE]:
            if not self._shaper.has_its_queue(*one):
                yield one

    def take(self, number: int) -> None:
        """Take in what the classes of an ifb have done."""
        self._take(number, self._shaper.read(number))

    def _take(self, number: int, found: dict[int, ClassReading]) -> None:
        self._tally.take({number << 16 | own: one for own, one in found.items()})

    def passed(self) -> dict[Direction, Passed]:
        """What has left the classes, by direction, since the start; as last read."""
        return self._tally.totals

    def through(self) -> int:
        """Bytes that have left any class since the start, of both directions."""
        return self._through.take(self._shaper.passed())

    def backlog(self, number: int) -> int:
        """Bytes that wait in the queues of an ifb."""
        return sum(one.backlog for one in self._shaper.read(number).values())
