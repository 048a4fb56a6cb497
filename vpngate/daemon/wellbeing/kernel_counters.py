# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel has counted, read now and then, and the rate that follows.

Knows when a reading is fresh enough; does not know how the kernel counts, or who
asks.
"""

import asyncio
import time

from vpngate.errors import MachineFault
from vpngate.kernel.plane import Counters, DataPlane
from vpngate.metrics import Metrics

FRESH = 0.1  # seconds; two scrapers at once are one reading
RATE_OVER = 2.0  # seconds at least between the readings that make a rate


class KernelCounters:
    """The latest counters of a data plane; `rate` is in bit/s by direction."""

    def __init__(self, plane: DataPlane, metrics: Metrics) -> None:
        self._plane = plane
        self._metrics = metrics
        self._turn = asyncio.Lock()
        self._read_at = -FRESH
        self._basis: tuple[float, Counters] | None = None
        self.latest: Counters | None = None
        self.rate: dict[str, float] = {}

    async def refresh(self) -> None:
        """Read again unless the latest reading is fresh.

        It is kept if the kernel does not answer.
        """
        async with self._turn:
            now = time.monotonic()
            if now - self._read_at < FRESH:
                return
            try:
                totals = await self._plane.counters()
            except MachineFault:
                return
            self._read_at, self.latest = now, totals
            self._metrics.kernel(totals)
            self._rate(now, totals)

    def _rate(self, now: float, totals: Counters) -> None:
        if self._basis is None:
            self._basis = now, totals
            return
        since, before = self._basis
        if now - since < RATE_OVER:
            return
        self.rate = {
            direction: 8
            * (total - before.throttled_bytes.get(direction, 0))
            / (now - since)
            for direction, total in totals.throttled_bytes.items()
        }
        self._basis = now, totals
