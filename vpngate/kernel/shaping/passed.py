# SPDX-License-Identifier: GPL-2.0-or-later
"""What all classes have passed and dropped since the start, also those that are gone.

Knows that a class begins at zero when it is made anew, and that the kernel's counts of
packets are 32 bits wide; does not know when classes are read, made or removed. A class
has the number of its ifb in front of its own 16 bits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vpngate.kernel.shaping.places import class_direction
from vpngate.kernel.shaping.readings import ClassReading
from vpngate.packets import Direction

_WRAP = 1 << 32
_BITS = 16  # of a class's number, below its ifb's
_NEW = ClassReading(b"", 0, bytes=0, packets=0, drops=0, backlog=0)


@dataclass(slots=True)
class Passed:
    """Totals of a direction: what left the classes, and what they had no room for."""

    packets: int = 0
    bytes: int = 0
    dropped: int = 0  # packets


class Tally:
    """Adds up what classes do between two readings; its totals never go back."""

    def __init__(self) -> None:
        self.totals = {direction: Passed() for direction in Direction}
        self._seen: dict[int, dict[int, ClassReading]] = {}  # by ifb and class

    def take(self, statistics: Mapping[int, ClassReading]) -> None:
        """Take in a reading of some classes, by number."""
        for number, now in statistics.items():
            seen = self._seen.setdefault(number >> _BITS, {})
            before = seen.get(number, _NEW)
            if now.bytes == before.bytes and now.drops == before.drops:
                continue
            if _is_another(before, now):
                before = _NEW
            total = self.totals[class_direction(number)]
            total.bytes += now.bytes - before.bytes
            total.packets += (now.packets - before.packets) % _WRAP
            total.dropped += (now.drops - before.drops) % _WRAP
            seen[number] = now

    def gone(self, numbers: Iterable[int]) -> None:
        """These classes are removed: what has their number next begins at zero."""
        for number in numbers:
            self._seen.get(number >> _BITS, {}).pop(number, None)

    def all_gone(self, ifb: int) -> None:
        """All classes of that ifb are gone, with the device."""
        self._seen.pop(ifb, None)


class Through:
    """Adds up what ifbs as a whole have passed; its total never goes back.

    It is read at next to no cost, the classes' own counts are not where they are many.
    """

    def __init__(self) -> None:
        self._seen: Mapping[int, int] = {}
        self._total = 0

    def take(self, seen: Mapping[int, int]) -> int:
        """The total, with a reading of the bytes that each has passed, by index.

        One that is made anew has another index, and begins at zero.
        """
        self._total += sum(
            now - self._seen.get(index, 0) for index, now in seen.items()
        )
        self._seen = seen
        return self._total


def _is_another(before: ClassReading, now: ClassReading) -> bool:
    """Whether a class has taken another one's place: some count of it went back.

    One of 32 bits also does by going round: then it has come less far than back.
    """
    packets, drops = now.packets - before.packets, now.drops - before.drops
    back = any(step % _WRAP > _WRAP // 2 for step in (packets, drops))
    return back or now.bytes < before.bytes
