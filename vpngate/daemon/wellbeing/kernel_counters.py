# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel has counted, read now and then, and the rate that follows.

Knows when a reading is fresh enough; does not know how the kernel counts, or who
asks.
"""

import asyncio
import time
from collections.abc import Mapping

from vpngate.errors import MachineFault
from vpngate.kernel.plane import Counters, DataPlane
from vpngate.metrics import Metrics

FRESH = 0.1  # seconds; two scrapers at once are one reading
RATE_OVER = 2.0  # seconds at least between the readings that make a rate


class KernelCounters:
    """The latest counters of a data plane.

    `rate` is what the slower class passes, `traffic_rate` all that crosses the hooks,
    in bit/s by direction.
    """

    def __init__(self, plane: DataPlane, metrics: Metrics) -> None:
        self._plane = plane
        self._metrics = metrics
        self._turn = asyncio.Lock()
        self._read_at = -FRESH
        self._basis: tuple[float, Counters] | None = None
        self.latest: Counters | None = None
        self.rate: dict[str, float] = {}
        self.traffic_rate: dict[str, float] = {}

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
        seconds = now - since
        self.rate = _rates(before.throttled_bytes, totals.throttled_bytes, seconds)
        self.traffic_rate = _rates(before.traffic_bytes, totals.traffic_bytes, seconds)
        self._basis = now, totals


def _rates(
    before: Mapping[str, int], now: Mapping[str, int], seconds: float
) -> dict[str, float]:
    return {
        direction: 8 * (total - before.get(direction, 0)) / seconds
        for direction, total in now.items()
    }
