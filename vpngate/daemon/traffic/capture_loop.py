# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes packets from the capture as they come, and verdicts to the kernel.

Knows the two ends of the pipeline and when each was last heard of; does not know
what is decided between them. A capture that breaks ends the daemon: the service
manager starts a fresh one, and nobody's traffic has noticed either.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from operator import sub

from vpngate.bounds import CaptureLoss
from vpngate.capture.live.source import PacketSource
from vpngate.daemon.threads import tick
from vpngate.daemon.traffic.pipeline import Due, Pipeline
from vpngate.errors import MachineFault, Problem
from vpngate.kernel.detour.verdicts import FlowId, identity
from vpngate.kernel.plane import DataPlane
from vpngate.log_events import named
from vpngate.metrics import Metrics
from vpngate.policy import Throttle
from vpngate.timekeeping.moments import When

POLL = 1.0  # seconds; a quiet capture is asked all the same, to know that it lives
RETRY = 5.0  # seconds until the kernel is told again to end a verdict

_log = logging.getLogger(__name__)


class CaptureLoop:
    """Runs a capture through the pipeline into the data plane."""

    def __init__(
        self,
        source: PacketSource,
        pipeline: Pipeline,
        plane: DataPlane,
        metrics: Metrics,
        clock: Callable[[], When],
    ) -> None:
        self._source = source
        self._pipeline = pipeline
        self._plane = plane
        self._metrics = metrics
        self._clock = clock
        self._due: list[Due] = []
        self._something_due = asyncio.Event()
        self._failure: OSError | None = None
        self.losses: Mapping[str, int] = {}
        self.captured = 0
        self.loss = CaptureLoss()
        self._drained = (0, 0, 0)  # what was counted when nothing was left to read
        # Called once there is a packet where none should be.
        self.witnessed: Callable[[], None] = lambda: None
        self._witnesses = 0
        self.heard = time.monotonic()  # when the capture last answered
        self._count(0)  # every reason for a loss is told of from the start

    async def listen(self) -> None:
        """Take packets for as long as the capture works; MachineFault then."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._source.fileno(), self._drain)
        try:
            while self._failure is None:
                await tick(POLL)
                self._drain()
        finally:
            loop.remove_reader(self._source.fileno())
        raise MachineFault(
            Problem("capture", f"broken: {self._failure}", "restart vpngate")
        )

    async def deliver(self) -> None:
        """Take verdicts to the kernel, all that are due in one transaction."""
        while True:
            await self._something_due.wait()
            self._something_due.clear()
            async with self._pipeline.handing_over:
                await self._hand_over()

    async def _hand_over(self) -> None:
        due, self._due = self._due, []
        batch = list(filter(self._pipeline.holds, due))
        slow, spare = _settled(batch)
        try:
            await self._plane.withdraw(spare)
        except MachineFault as error:
            for line in error.lines:
                _log.warning(
                    "verdicts not ended, trying again: %s",
                    line,
                    extra=named("verdicts_not_ended"),
                )
            self._try_again([one for one in batch if one.withdrawn])
        try:
            await self._plane.throttle(slow)
        except MachineFault as error:
            # Those flows stay untouched; their next handshake tries again.
            for line in error.lines:
                _log.warning(
                    "verdicts not inserted: %s",
                    line,
                    extra=named("verdicts_not_inserted"),
                )
            return
        now = time.time()
        for one in batch:
            if not one.withdrawn:
                self._metrics.verdict_in_kernel(now - one.seen)

    def _try_again(self, withdrawn: list[Due]) -> None:
        """Have these looked at once more: a flow says only once that it is none."""
        self._due = withdrawn + self._due
        loop = asyncio.get_running_loop()
        loop.call_later(RETRY, self._something_due.set)

    def _drain(self) -> None:
        try:
            captured = self._source.receive()
        except OSError as error:
            self._failure = error
            return
        now = time.monotonic()
        if self._source.witnesses > self._witnesses:
            self._witnesses = self._source.witnesses
            self.witnessed()
        self._count(len(captured))
        if self._source.is_drained:
            self._note_drained(now)
        if due := self._pipeline.take(captured, now, self._clock()):
            self._due += due
            self._something_due.set()
        self.heard = now  # only now: a reader that fails must not keep us armed

    def _note_drained(self, now: float) -> None:
        counts = self._source.read, self._source.lost_before, self.losses.get("gap", 0)
        read, before, lost = map(sub, counts, self._drained)
        self._drained = counts
        self.loss.drained(now, read=read, before=before, among=lost - before)

    def _count(self, captured: int) -> None:
        self.captured += captured
        self._metrics.captured(captured)
        losses = self._source.losses
        for reason, total in losses.items():
            self._metrics.lost(reason, total - self.losses.get(reason, 0))
        self.losses = losses


def _settled(batch: Iterable[Due]) -> tuple[list[Throttle], list[Throttle]]:
    """What a batch comes to: the flows to slow, and those whose verdict ends.

    The last word on a flow counts, whichever directions it names.
    """
    slow: dict[FlowId, Throttle] = {}
    spare: dict[FlowId, Throttle] = {}
    for due in batch:
        now, before = (spare, slow) if due.withdrawn else (slow, spare)
        for flow in due.flows:
            key = identity(flow)
            before.pop(key, None)
            now[key] = flow
    return list(slow.values()), list(spare.values())
