# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the machine's clocks, and remembers what they have shown.

Knows which clocks there are (clock_gettime(2), and the boot id of random(4)); does
not know what a jump means (`timekeeping/clock.py`).
"""

import logging
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from vpngate.log_events import named
from vpngate.timekeeping.clock import Reading, read_clock, restore_clock
from vpngate.timekeeping.moments import When

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_log = logging.getLogger(__name__)


def read_machine() -> Reading:
    """The machine's clocks at this instant."""
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    return Reading(time.time(), uptime, _boot())


@cache  # it lasts as long as any process; a file may not be had at each packet
def _boot() -> str:
    return _BOOT_ID.read_text("ascii").strip()


class WallClock:
    """The present, as far as it can be told.

    `patience` is how many seconds a new time has to stand before an old one is
    forgotten. May be asked from any thread.
    """

    def __init__(
        self, patience: float, read: Callable[[], Reading] = read_machine
    ) -> None:
        self.patience = patience
        self._read = read
        self._clock = read_clock(None, read(), patience)

    def now(self) -> When:
        """A moment in seconds since the epoch; a span of them if the clock jumped."""
        doubtful = self._clock.jumped
        self._clock = clock = read_clock(self._clock, self._read(), self.patience)
        if clock.jumped and not doubtful:
            _log.warning(
                "the clock has jumped: until that is settled, nobody expires",
                extra=named("clock_jumped"),
            )
        return clock.span if clock.jumped else clock.span.latest

    def restore(self, text: str) -> None:
        """Go on from what an earlier run remembered; ValueError if it is damaged."""
        self._clock = read_clock(restore_clock(text), self._read(), self.patience)

    def dump(self) -> str:
        """What to remember, in one line."""
        return self._clock.dump()
