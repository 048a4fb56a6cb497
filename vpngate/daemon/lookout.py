# SPDX-License-Identifier: GPL-2.0-or-later
"""Looks at the machine when something may have changed there, and tells what it sees.

Knows that one look comes after the other, so that what is seen last is the newest, and
whom to tell; does not know what is looked for (`attachment`), nor what follows.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from vpngate.attachment.look import looked
from vpngate.attachment.machine import Machine
from vpngate.config import Config
from vpngate.daemon.applying.applier import Applier
from vpngate.daemon.applying.events import MachineSeen
from vpngate.errors import VpngateError
from vpngate.log_events import named

_R = TypeVar("_R")

_log = logging.getLogger(__name__)


class Lookout:
    """Follows interfaces and addresses; `look` is how they are seen."""

    def __init__(self, applier: Applier, look: Callable[[Config], Machine]) -> None:
        self._applier = applier
        self._look = look
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vpngate-look")
        self._due = asyncio.Event()
        self._in_the_way: list[str] = []  # why interfaces could not be followed

    async def look(self, config: Config) -> Machine:
        """The machine as it is, by a configuration; as it was while it cannot be seen.

        The next look follows in seconds; neither a registry nor a mode waits for it.
        """
        last = self._applier.situation.snapshot.machine
        machine, fault = await self._in_turn(looked, self._look, config, last)
        if fault is not None:
            self._stands_in_the_way(fault)
        return machine

    def soon(self) -> None:
        """Have it looked at again: something may have changed."""
        self._due.set()

    async def follow(self) -> None:
        """Look whenever it is due, for ever; no look waits for what another led to."""
        while True:
            await self._due.wait()
            self._due.clear()
            begin = time.monotonic()
            try:
                outcome = await self.look_again()
            except VpngateError as fault:
                self._stands_in_the_way(fault)
            else:
                if outcome is None:
                    self._in_the_way = []
                else:
                    outcome.add_done_callback(self._followed)
            # Where hundreds come and go, everybody else has half of the time.
            await asyncio.sleep(time.monotonic() - begin)

    async def look_again(self) -> asyncio.Future[bool] | None:
        """Look once. Returns what comes of it, or None if nothing new was seen.

        Raises what keeps the machine from view, after what that means for those on the
        uplink side.
        """
        situation = self._applier.situation
        config, last = situation.wanted, situation.snapshot.machine
        machine, fault = await self._in_turn(looked, self._look, config, last)
        outcome = None
        # What was seen before may wait still, and say otherwise.
        if machine != last or (fault is None and not self._applier.is_idle):
            outcome = self._applier.submit(MachineSeen(config, machine))
        if fault is not None:
            if outcome is not None:
                await asyncio.shield(outcome)
            raise fault
        return outcome

    def _followed(self, outcome: asyncio.Future[bool]) -> None:
        if outcome.cancelled():
            return
        error = outcome.exception()
        if isinstance(error, VpngateError):
            self._stands_in_the_way(error)
        elif error is not None:
            _log.error(
                "interfaces: this should not have happened",
                exc_info=error,
                extra=named("unforeseen", during="interfaces"),
            )
        else:
            self._in_the_way = []

    def _stands_in_the_way(self, error: VpngateError) -> None:
        if error.lines != self._in_the_way:  # once, not every few seconds
            for line in error.lines:
                _log.warning(
                    "%s; attached as before", line, extra=named("machine_unseen")
                )
        self._in_the_way = error.lines

    async def _in_turn(self, work: Callable[..., _R], *arguments: object) -> _R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, work, *arguments)
