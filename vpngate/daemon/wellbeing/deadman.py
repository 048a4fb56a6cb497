# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps the kernel's dead man's switch armed, but only while all is well.

Knows how often, and whose heartbeats have to be fresh; does not know what arming
does. It runs in the event loop on purpose: a loop that hangs cannot arm.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable

from vpngate.errors import MachineFault
from vpngate.kernel.plane import DataPlane
from vpngate.log_events import named
from vpngate.metrics import Metrics

REARMINGS = 3  # in one dead man's time

_log = logging.getLogger(__name__)


class DeadMan:
    """Re-arms while `heard`, the capture's last sign of life, is recent.

    `armed` tells whether the last round armed the switch.
    """

    def __init__(
        self, plane: DataPlane, heard: Callable[[], float], metrics: Metrics
    ) -> None:
        self._plane = plane
        self._heard = heard
        self._metrics = metrics
        self.armed = False
        # Seconds until nobody is to be slowed any more: armed for no longer.
        self.left: Callable[[], float] = lambda: math.inf
        self._at_once = asyncio.Event()

    def at_once(self) -> None:
        """Have the next round now: what is to be done may be something else."""
        self._at_once.set()

    async def hold(self, settings: Callable[[], tuple[bool, float]]) -> None:
        """Go on for ever; `settings`: whether to arm, and the dead man's time."""
        while True:
            wanted, deadman = settings()
            await self.round(wanted=wanted, deadman=deadman)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(deadman / REARMINGS):
                    await self._at_once.wait()
            self._at_once.clear()

    async def round(self, *, wanted: bool, deadman: float) -> None:
        """Arm once, if it is wanted and justified."""
        silent = time.monotonic() - self._heard()
        armed = False
        if wanted and silent > deadman / REARMINGS:
            _log.warning(
                "not armed: nothing heard of the capture for %.0f s",
                silent,
                extra=named("not_armed"),
            )
        elif wanted:
            try:
                left = self.left()
                armed = left > 0 and await self._plane.rearm(left)
            except MachineFault as error:
                _log.warning("not armed: %s", error, extra=named("not_armed"))
        self.armed = armed
        self._metrics.armed(armed)
