# SPDX-License-Identifier: GPL-2.0-or-later
"""The classes of all buckets: made when first needed, removed when idle.

Knows which places have their two classes, and which still wait for them; does not
know whose they are. One thread alone may use it. Times are of a clock that never
jumps, in seconds.

Making or removing a class takes the longer the more there are: the kernel walks
them all, 3 ms beside 20,000. So whatever may be many is done a few at a time.
"""

from collections.abc import Collection, Iterable
from contextlib import suppress
from itertools import islice

from vpngate.errors import KernelRefused
from vpngate.kernel.detour.ifbs import Shaper
from vpngate.kernel.detour.passed import Passed, Tally
from vpngate.kernel.detour.verdicts import minor
from vpngate.packets import Direction

_AT_ONCE = 50  # places
# After its last verdict a class is kept so long: packets may still be on their way.
_REST = 2.0


class Classes:
    """The two classes of each place that is in use."""

    def __init__(self, shaper: Shaper) -> None:
        self._shaper = shaper
        self._made: dict[int, float | None] = {}  # place: idle since
        self._waiting: dict[int, None] = {}  # places to make or change, in order
        self._tally = Tally()

    def make(self, places: Iterable[int]) -> None:
        """Make the classes of places that have just come into use.

        If it cannot be done now (the ifb may be gone this moment), it has to wait.
        """
        missing = [place for place in places if place not in self._made]
        try:
            self._shaper.add_classes(_minors(missing))
        except KernelRefused:
            self._waiting |= dict.fromkeys(missing)
        else:
            self._made |= dict.fromkeys(missing)

    def rebuild(self, places: Iterable[int]) -> None:
        """Have all classes made again, step by step, on an ifb that is new.

        Until its class is made, a flow's packets pass the ifb unslowed.
        """
        with suppress(KernelRefused):  # there may be nothing left to read
            self._tally.take(self._shaper.statistics())
        self._tally.all_gone()
        self._made.clear()
        self._waiting = dict.fromkeys(places)

    def change_rate(self, rate: int) -> None:
        """Have all classes given another rate, in bit/s, step by step."""
        self._shaper.set_rate(rate)
        self._waiting |= dict.fromkeys(self._made)

    def advance(self) -> bool:
        """Make or change a few of the classes that wait for it; whether more wait."""
        few = list(islice(self._waiting, _AT_ONCE))
        self._shaper.add_classes(_minors(few))
        for place in few:
            del self._waiting[place]
            self._made.setdefault(place)
        return bool(self._waiting)

    def remove_idle(self, used: Collection[int], now: float) -> None:
        """Remove a few classes that no verdict leads to and in which nothing waits."""
        resting = []
        for place, since in self._made.items():
            if place in used:
                self._made[place] = None
            elif since is None:
                self._made[place] = now
            elif now - since >= _REST:
                resting.append(place)
        if not resting:
            return
        statistics = self._shaper.statistics()
        for place in resting[:_AT_ONCE]:
            pair = {n: statistics[n] for n in _minors([place]) if n in statistics}
            if any(one.backlog for one in pair.values()):
                continue
            self._shaper.remove_classes(_minors([place]))
            self._tally.take(pair)
            self._tally.gone(_minors([place]))  # somebody else may have removed one
            del self._made[place]
            self._waiting.pop(place, None)

    def passed(self) -> dict[Direction, Passed]:
        """What has left the classes, by direction, since the start."""
        self._tally.take(self._shaper.statistics())
        return self._tally.totals

    def backlog(self) -> int:
        """Bytes that wait in all queues."""
        return sum(one.backlog for one in self._shaper.statistics().values())


def _minors(places: Iterable[int]) -> list[int]:
    return [minor(place, direction) for place in places for direction in Direction]
