# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether all is well, and if not, why.

Knows which signs of life have to be fresh, and has the kernel compared with what it
should hold; does not know how anything is mended.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from vpngate.daemon.in_force import InForce
from vpngate.daemon.traffic.capture_loop import CaptureLoop
from vpngate.daemon.wellbeing.deadman import DeadMan
from vpngate.errors import VpngateError
from vpngate.kernel.plane import DataPlane
from vpngate.log_events import named
from vpngate.metrics import Metrics
from vpngate.stance import Cause, in_one_line

SILENCE = 10.0  # seconds; a capture is asked every second, whether packets come or not
_NOTES = 10  # interfaces that are named

_log = logging.getLogger(__name__)


class Health:
    """The daemon's opinion of itself; `reasons` may be asked from any thread."""

    def __init__(
        self,
        in_force: InForce,
        capture: CaptureLoop,
        deadman: DeadMan,
        plane: DataPlane,
        metrics: Metrics,
    ) -> None:
        self._in_force = in_force
        self._capture = capture
        self._deadman = deadman
        self._plane = plane
        self._metrics = metrics
        # What of the registry in force is not fresh; asked from any thread.
        self.stale: Callable[[], Sequence[str]] = tuple
        self._in_sync = True
        self._told: list[str] = []  # why the kernel could not be put right, if so
        self._comparing = asyncio.Lock()
        metrics.in_sync(True)
        metrics.health(lambda: not self.reasons())

    @property
    def in_sync(self) -> bool:
        """Whether the kernel held what it should at the last look, or does again."""
        return self._in_sync

    @property
    def armed(self) -> bool:
        """Whether throttling may happen."""
        return self._deadman.armed

    def reasons(self) -> list[str]:
        """What is wrong; nothing if all is well."""
        reasons = []
        silent = time.monotonic() - self._capture.heard
        if silent > SILENCE:
            reasons.append(f"nothing heard of the capture for {silent:.0f} s")
        if self._in_force.snapshot.enforcing and not self._deadman.armed:
            reasons.append("enforcing, but the dead man's switch is not armed")
        stance = self._in_force.snapshot.stance
        if stance.why.cause is Cause.HALTED:
            reasons.append(in_one_line(stance))
        if problems := self._in_force.snapshot.suspended:
            reasons.append(f"told to enforce, and observing: {problems[0]}")
        if not self._in_sync:
            reasons.append("the kernel does not hold what it should")
        return [*reasons, *self.stale()]

    def notes(self) -> list[str]:
        """What is as it should be, and still to be known; from any thread."""
        alone = self._in_force.left_alone
        lines = [
            f"interface {one.interface} is left alone: {one.what}"
            for one in alone[:_NOTES]
        ]
        if len(alone) > _NOTES:
            lines.append(f"{len(alone) - _NOTES} more are; see `vpngate status`")
        return lines

    async def verify(self) -> Sequence[str]:
        """Compare the kernel with what it should hold, and have it put right.

        Returns what was put right, by metric label.
        """
        try:
            repaired = await self._plane.verify()
        except VpngateError as error:
            self._note(in_sync=False)
            if error.lines != self._told:  # it is tried again every 30 s
                for line in error.lines:
                    what = "the kernel cannot be put right: %s"
                    _log.error(what, line, extra=named("kernel_not_mended"))
            self._told = error.lines
            return ()
        self._told = []
        for what in repaired:
            _log.warning(
                "put right in the kernel: %s",
                what,
                extra=named("kernel_mended", what=what),
            )
            self._metrics.repaired(what)
        self._note(in_sync=True)
        return repaired

    async def compare(self) -> dict[str, Any]:
        """The same with every spared interval, one comparison at a time.

        What was found, fit for JSON. Raises what the data plane raises.
        """
        async with self._comparing:
            found = await self._plane.compare()
            if not found.equal:
                self._note(in_sync=False)
                _log.warning(
                    "a full comparison found spared intervals that differ",
                    extra=named("kernel_differs"),
                )
            return {
                "equal": found.equal,
                "compared": found.compared,
                "differing": found.differing,
                "surplus": found.surplus,
                "repaired": list(await self.verify()),
                "in_sync": self._in_sync,
            }

    def _note(self, *, in_sync: bool) -> None:
        self._in_sync = in_sync
        self._metrics.in_sync(in_sync)
