# SPDX-License-Identifier: GPL-2.0-or-later
"""What time it is, as far as it can be told.

Knows that a wall clock can jump and that a registration must not end by that; does
not know registrations. A jump puts the time in doubt: until the clock has agreed
with itself for `settle` seconds, the present is any moment between what the clock
says now and what it would say had it not jumped.
"""

import time
from collections.abc import Callable

from vpngate.registry.moments import Span, When

TOLERANCE = 60.0  # seconds; a clock that is slewed or slept a little has not jumped


def elapsed_since_boot() -> float:
    """Seconds on a clock that never jumps, and goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock:
    """A wall clock that is watched by a steady one."""

    def __init__(
        self,
        settle: float,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = elapsed_since_boot,
    ) -> None:
        self._settle = settle
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()  # the one believed
        self._rival = self._offset
        self._rival_since = steady()

    def now(self) -> When:
        """A moment in seconds since the epoch, or the span it lies in."""
        wall, steady = self._wall(), self._steady()
        offset = wall - steady
        if abs(offset - self._offset) <= TOLERANCE:
            self._offset = offset
            return wall
        if abs(offset - self._rival) > TOLERANCE:
            self._rival_since = steady
        self._rival = offset
        if steady - self._rival_since >= self._settle:
            self._offset = offset
            return wall
        believed = steady + self._offset
        return Span(min(wall, believed), max(wall, believed))
