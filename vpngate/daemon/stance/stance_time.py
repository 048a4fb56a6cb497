# SPDX-License-Identifier: GPL-2.0-or-later
"""Has the stance's time be over when it is over.

Knows how long to wait, whatever is done to clocks meanwhile; does not know what
follows (`stance`).
"""

import asyncio
import contextlib
from collections.abc import Callable

from vpngate.daemon.applying.applier import Applier
from vpngate.daemon.threads import next_tick
from vpngate.stance import Tick
from vpngate.timekeeping.clock import Reading

# No timer of the loop goes by the clocks that people set, nor through a suspended
# machine.
LONGEST_WAIT = 1.0  # seconds


class StanceTime:
    """Tells the applier of each deadline as it comes; `read` reads the clocks."""

    def __init__(self, applier: Applier, read: Callable[[], Reading]) -> None:
        self._applier = applier
        self._read = read
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Another stance is in force: there may be another deadline."""
        self._changed.set()

    def left(self) -> float:
        """Seconds until nobody is slowed any more, if nobody acts meanwhile."""
        return self._applier.situation.snapshot.stance.left_to_act(self._read())

    async def keep(self) -> None:
        """Go on for ever."""
        while True:
            self._changed.clear()
            left = self._applier.situation.snapshot.stance.left(self._read())
            if left <= 0:
                outcome = self._applier.submit(Tick())
                await asyncio.wait({outcome})
            else:
                await self._wait(left)

    async def _wait(self, left: float) -> None:
        with contextlib.suppress(TimeoutError):
            over = asyncio.get_running_loop().time() + left
            async with asyncio.timeout_at(min(over, next_tick(LONGEST_WAIT))):
                await self._changed.wait()
