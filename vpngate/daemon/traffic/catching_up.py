# SPDX-License-Identifier: GPL-2.0-or-later
"""Flows that were confirmed before acting on them began are handed to the kernel then.

Knows when acting begins, or takes in more subscribers; a flow's own next handshake may
be minutes away, or never come. Does not decide anything: the pipeline does, about each
flow as it is handed over, so that what is taken back meanwhile stays so.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from itertools import islice

from vpngate.daemon.traffic.judging import share_of
from vpngate.daemon.traffic.pipeline import Pipeline
from vpngate.errors import MachineFault
from vpngate.kernel.plane import DataPlane
from vpngate.log_events import named
from vpngate.policy import Throttle
from vpngate.snapshot import Snapshot
from vpngate.timekeeping.moments import When

_AT_ONCE = 12  # verdicts
_MOST_OF_A_FLOW = 6  # verdicts: IPsec between two subscribers
_LOOKED_AT = 50  # flows until others have their turn, where none is to be slowed

_log = logging.getLogger(__name__)


class CatchingUp:
    """`consider` each snapshot that is acted on, from the first; `run` beside."""

    def __init__(
        self, pipeline: Pipeline, plane: DataPlane, clock: Callable[[], When]
    ) -> None:
        self._pipeline = pipeline
        self._plane = plane
        self._clock = clock
        self._acted_on = 0.0  # the share
        self._wanted = asyncio.Event()

    def consider(self, snapshot: Snapshot) -> None:
        """See whether more is acted on by this snapshot than by the one before."""
        acted_on = share_of(snapshot) if snapshot.enforcing else 0.0
        if acted_on > self._acted_on:
            self._wanted.set()
        self._acted_on = acted_on

    async def run(self) -> None:
        """Hand over what is confirmed each time that more is acted on."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            handed = await self._catch_up()
            if handed:
                _log.info(
                    "%d verdicts on flows that were known before",
                    handed,
                    extra=named("caught_up", verdicts=handed),
                )

    async def _catch_up(self) -> int:
        """All that is confirmed now, a few at a time; how many verdicts."""
        handed = 0
        known = self._pipeline.known(self._clock())
        while self._acted_on and not self._wanted.is_set():
            async with self._pipeline.handing_over:
                looked_at, few = self._few(known)
                handed += await self._hand_over(few)
            if not looked_at:
                break
            await asyncio.sleep(0)
        return handed

    async def _hand_over(self, few: list[Throttle]) -> int:
        try:
            await self._plane.throttle(few)
        except MachineFault as error:
            # Those flows stay untouched; their next handshake tries again.
            for line in error.lines:
                _log.warning(
                    "verdicts not inserted: %s",
                    line,
                    extra=named("verdicts_not_inserted"),
                )
            return 0
        return len(few)

    @staticmethod
    def _few(known: Iterator[tuple[Throttle, ...]]) -> tuple[int, list[Throttle]]:
        """How many flows were looked at, and what of them is to be slowed."""
        few: list[Throttle] = []
        looked_at = 0
        for flows in islice(known, _LOOKED_AT):
            few += flows
            looked_at += 1
            if len(few) + _MOST_OF_A_FLOW > _AT_ONCE:
                break
        return looked_at, few
