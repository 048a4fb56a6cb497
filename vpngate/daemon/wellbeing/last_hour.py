# SPDX-License-Identifier: GPL-2.0-or-later
"""The last hour in numbers: a ring of minutes, of totals and levels by name.

Knows how much each total has grown in each minute, and how high each level was; does
not know what is counted, and keeps no address. Times come in, in seconds of a clock
that never jumps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

MINUTES = 60
LENGTH = 60.0  # seconds
MOST_NAMES = 256  # so that it is bounded whatever is handed in

Name = tuple[str, ...]


@dataclass(slots=True)
class _Minute:
    """What is known of one minute; `number` counts them from the beginning."""

    number: int
    grown: dict[Name, int] = field(default_factory=dict)
    highest: dict[Name, int] = field(default_factory=dict)


class LastHour:
    """Minutes since `begin`, the last `MINUTES` of them."""

    def __init__(self, begin: float) -> None:
        self._begin = begin
        self._before: dict[Name, int] | None = None
        self._ring: list[_Minute | None] = [None] * (MINUTES + 1)  # and this one

    def note(
        self, now: float, totals: Mapping[Name, int], levels: Mapping[Name, int]
    ) -> None:
        """Take in how much was counted so far, and how high each level is.

        What grew since the last time counts for this minute. A total that fell was
        begun anew. The first totals ever are what the growth begins from.
        """
        minute = self._minute(self._number(now))
        known = dict(list(totals.items())[:MOST_NAMES])
        if self._before is not None:
            for name, total in known.items():
                before = self._before.get(name, 0)
                grown = total - before if total >= before else total
                if grown:
                    minute.grown[name] = minute.grown.get(name, 0) + grown
        self._before = known
        for name, level in list(levels.items())[:MOST_NAMES]:
            if level > minute.highest.get(name, 0):
                minute.highest[name] = level

    def ends(self, now: float) -> float:
        """When the last minute ended that is over."""
        return self._begin + self._number(now) * LENGTH

    def grown(self, now: float, name: Name) -> list[int | None]:
        """By how much a total grew in each minute that is over, the latest last.

        None for a minute in which nobody counted.
        """
        return [None if m is None else m.grown.get(name, 0) for m in self._over(now)]

    def highest(self, now: float, name: Name) -> list[int | None]:
        """How high a level was, the same way."""
        return [None if m is None else m.highest.get(name, 0) for m in self._over(now)]

    def _over(self, now: float) -> list[_Minute | None]:
        this = self._number(now)
        return [self._known(number) for number in range(this - MINUTES, this)]

    def _number(self, now: float) -> int:
        return max(0, int((now - self._begin) // LENGTH))

    def _known(self, number: int) -> _Minute | None:
        found = self._ring[number % len(self._ring)]
        return found if found is not None and found.number == number else None

    def _minute(self, number: int) -> _Minute:
        found = self._known(number)
        if found is None:
            found = self._ring[number % len(self._ring)] = _Minute(number)
        return found
