# SPDX-License-Identifier: GPL-2.0-or-later
"""Looks every second whether a bound of `[halt]` is passed, and has it halt then.

Knows where each bound's counts come from, and that a witness is told by the kernel and
not waited for; does not know the bounds' own rules (`vpngate.bounds`). While nothing is
enforced nothing is looked at, and what was counted before counts no more.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

from vpngate.bounds import SparedPackets, ThrottledShare
from vpngate.daemon.applying.in_kernel import InKernel
from vpngate.daemon.halting.samples import Samples
from vpngate.daemon.in_force import InForce
from vpngate.daemon.threads import next_tick
from vpngate.daemon.traffic.capture_loop import CaptureLoop
from vpngate.errors import VpngateError
from vpngate.kernel.plane import DataPlane, Glance
from vpngate.log_events import named
from vpngate.metrics import Metrics
from vpngate.snapshot import Snapshot
from vpngate.stance import Halt, HaltReason

EVERY = 1.0  # seconds

_WITNESS = "a packet of a spared address was sent where throttled packets wait"
_SAMPLE = "a registered or protected address was found where throttled packets wait"
NEXT = {
    HaltReason.SPARED_PACKETS: (
        "verdicts cover spared addresses and were not ended: see the log, and"
        " `vpngate doctor --kernel`"
    ),
    HaltReason.THROTTLED_SHARE: (
        "see by `vpngate status` which tunnel it is, and whether the registry is whole;"
        " halt.throttled_share is the bound"
    ),
    HaltReason.CAPTURE_LOSS: (
        "the daemon did not get to read for many seconds: see what else goes on here"
    ),
    HaltReason.DISAGREEMENTS: (
        "the kernel did not spare whom it should: run `vpngate doctor --kernel`"
    ),
    HaltReason.WITNESS: (
        "somebody registered or protected was slowed: run `vpngate doctor --kernel`,"
        " and report it"
    ),
}

_log = logging.getLogger(__name__)

_Finding = tuple[HaltReason, str]


class Halts:
    """The watch over one data plane.

    `halt` stops enforcing, tells it and keeps it; it returns once that is in force.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - it looks at all of them
        self,
        in_force: InForce,
        plane: DataPlane,
        kernel: InKernel,
        capture: CaptureLoop,
        metrics: Metrics,
        halt: Callable[[Halt], Awaitable[object]],
    ) -> None:
        self._in_force = in_force
        self._plane = plane
        self._kernel = kernel
        self._samples = Samples(kernel)
        self._capture = capture
        self._metrics = metrics
        self._halt = halt
        self._counted: _Counted | None = None  # None: nothing is enforced
        self._halting: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()  # set once something is enforced

    async def watch(self) -> None:
        """Look every second, for ever, and at once when it begins to enforce.

        The capture tells of witnesses meanwhile.
        """
        self._capture.witnessed = self.witnessed
        self._in_force.told.append(self._begins)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(next_tick(EVERY)):
                    await self._begun.wait()
            self._begun.clear()
            try:
                await self._look()
            except VpngateError as error:
                _log.debug(
                    "not looked at: %s", error, extra=named("glance_failed")
                )  # the next look is soon

    def _begins(self) -> None:
        """What is counted from now on counts: the first look says where it stood."""
        if self._counted is None and self._in_force.snapshot.enforcing:
            self._begun.set()

    def witnessed(self) -> None:
        """The kernel has told of a witness: it slows nothing more, and we halt."""
        self._stop(HaltReason.WITNESS, _WITNESS)

    async def _look(self) -> None:
        snapshot = self._in_force.snapshot
        if not snapshot.enforcing:
            self._counted = None
            return
        settled = self._kernel.settled
        glance = await self._plane.glance()
        if self._counted is None:
            self._counted = _Counted(glance)
            self._capture.loss.forget()
        found = [*self._counted.beyond(glance, snapshot, self._capture)]
        if self._samples.spared(glance, settled):
            found.append((HaltReason.WITNESS, _SAMPLE))
        for reason, detail in found[:1]:
            self._stop(reason, detail)

    def _stop(self, reason: HaltReason, detail: str) -> None:
        """Halt, once: until that is in force nothing else is a reason any more."""
        if self._halting is None and self._in_force.snapshot.enforcing:
            self._counted = None
            self._halting = asyncio.create_task(self._stopped(reason, detail))

    async def _stopped(self, reason: HaltReason, detail: str) -> None:
        try:
            self._metrics.halted(reason)
            await self._halt(Halt(reason, f"{detail}; {NEXT[reason]}"))
        except VpngateError as error:
            for line in error.lines:
                _log.error("not halted: %s", line, extra=named("halt_failed"))
        finally:
            self._halting = None


class _Counted:
    """What is counted against each bound since something is enforced."""

    def __init__(self, first: Glance) -> None:
        self._first = first
        self._spared = SparedPackets()
        self._share = ThrottledShare()

    def beyond(
        self, glance: Glance, snapshot: Snapshot, capture: CaptureLoop
    ) -> Iterator[_Finding]:
        """The bounds that are passed, and what of each is, in words."""
        bounds = snapshot.config.halt
        if glance.witness_packets > self._first.witness_packets:
            yield HaltReason.WITNESS, _WITNESS
        apart = glance.disagreements
        # Those from before it enforced are no reason, those since are, however soon.
        if apart >= bounds.disagreements and glance.differed > self._first.differed:
            yield HaltReason.DISAGREEMENTS, f"they differed at {apart} looks in a row"
        said = self._spared.look(
            *(glance.at, glance.spared_packets),
            changed=glance.changed,
            most=bounds.spared_packets,
        )
        if said:
            yield HaltReason.SPARED_PACKETS, said
        if bounds.throttled_share is not None:
            said = self._share.look(
                *(glance.at, glance.throttled_bytes, glance.traffic_bytes),
                rate=snapshot.config.throttle.rate,
                most=bounds.throttled_share,
            )
            if said:
                yield HaltReason.THROTTLED_SHARE, said
        said = capture.loss.look(time.monotonic(), most=bounds.capture_loss)
        if said:
            yield HaltReason.CAPTURE_LOSS, said
