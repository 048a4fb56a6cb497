# SPDX-License-Identifier: GPL-2.0-or-later
"""What all classes have passed and dropped since the start, also those that are gone.

Knows that a class begins at zero when it is made anew, and that the kernel's counts of
packets are 32 bits wide; does not know when classes are read, made or removed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vpngate.kernel.detour.ifbs import ClassStatistics
from vpngate.kernel.detour.verdicts import class_direction
from vpngate.packets import Direction

_WRAP = 1 << 32
_NEW = ClassStatistics(bytes=0, packets=0, drops=0, backlog=0)


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
        self._seen: dict[int, ClassStatistics] = {}  # by class

    def take(self, statistics: Mapping[int, ClassStatistics]) -> None:
        """Take in a reading of some classes, by minor number."""
        for number, now in statistics.items():
            before = self._seen.get(number, _NEW)
            if now.bytes == before.bytes and now.drops == before.drops:
                continue
            if now.bytes < before.bytes:  # another one has taken its place
                before = _NEW
            total = self.totals[class_direction(number)]
            total.bytes += now.bytes - before.bytes
            total.packets += (now.packets - before.packets) % _WRAP
            total.dropped += (now.drops - before.drops) % _WRAP
            self._seen[number] = now

    def gone(self, numbers: Iterable[int]) -> None:
        """These classes are removed: what has their number next begins at zero."""
        for number in numbers:
            self._seen.pop(number, None)

    def all_gone(self) -> None:
        """All classes are gone, with their device."""
        self._seen.clear()
