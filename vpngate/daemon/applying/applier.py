# SPDX-License-Identifier: GPL-2.0-or-later
"""Brings event after event into force: kernel, pipeline, metrics, log, disk.

Knows the order: one event at a time, in the order in which they came; but what of an
event slows less is acted on as soon as it is asked for, beside a change that is under
way, and stays so whatever becomes of the rest. Does not know what an event means
(`transition.py`).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from vpngate.daemon.applying.announcements import Announcements
from vpngate.daemon.applying.events import Declined, Event, Situation
from vpngate.daemon.applying.in_kernel import InKernel
from vpngate.daemon.applying.transition import (
    left_of,
    next_situation,
    supersedes,
    urgent,
)
from vpngate.daemon.in_force import InForce
from vpngate.errors import VpngateError
from vpngate.supply.keeper import Delivery

_log = logging.getLogger(__name__)


class _Asked(NamedTuple):
    event: Event
    outcome: asyncio.Future[bool]


class Applier:
    """The one writer of what is in force: `install` first, then `run`.

    situation  what is acted on at this moment
    """

    def __init__(
        self,
        situation: Situation,
        in_force: InForce,
        kernel: InKernel,
        announcements: Announcements,
    ) -> None:
        """`situation` is the first one; its snapshot is in `in_force` already."""
        self.situation = situation
        self._reached = situation  # by the events that are through
        self._in_force = in_force
        self._kernel = kernel
        self._announcements = announcements
        self._asked: deque[_Asked] = deque()  # the first of them is being applied
        self._news = asyncio.Event()
        self._at_once: set[asyncio.Task[None]] = set()
        self._ended = False

    @property
    def is_idle(self) -> bool:
        """Whether no event is being applied, and none waits."""
        return not self._asked

    async def install(self, delivery: Delivery) -> None:
        """Have the kernel hold the first situation, whose registry this brought."""
        await self._kernel.install(self.situation.snapshot)
        self._announcements.started(self.situation, delivery)
        self._note_networks()

    def submit(self, event: Event) -> asyncio.Future[bool]:
        """Have an event applied in its turn, and what of it is urgent at once.

        The outcome is whether the kernel had to change, or what kept the event from
        coming into force. Of two in a row that say the same, or of which the later
        says all, both are one.
        """
        if self._asked and self._asked[-1].event == event:
            return self._asked[-1].outcome
        if len(self._asked) > 1 and supersedes(event, self._asked[-1].event):
            self._asked[-1] = self._asked[-1]._replace(event=event)
            self._act()
            return self._asked[-1].outcome
        outcome = asyncio.get_running_loop().create_future()
        outcome.add_done_callback(_looked_at)
        if self._ended:
            outcome.cancel()
            return outcome
        self._asked.append(_Asked(event, outcome))
        self._act()
        self._news.set()
        return outcome

    async def take(self, event: Event) -> bool:
        """Submit an event, and wait for its outcome; raises what kept it."""
        return await asyncio.shield(self.submit(event))

    async def run(self) -> None:
        """Apply what is asked for until cancelled; then whoever still waits is, too."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                while self._asked:
                    await self._answer(self._asked[0])
        finally:
            self._ended = True
            for task in self._at_once:
                task.cancel()
            for asked in self._asked:
                asked.outcome.cancel()
            self._asked.clear()

    async def _answer(self, asked: _Asked) -> None:
        try:
            changed = await self._apply(asked)
        except VpngateError as error:
            asked.outcome.set_exception(error.alone())  # its frames have the outcome
        except Exception as error:  # noqa: BLE001 - it is for whoever asked
            asked.outcome.set_exception(error)
        except BaseException:
            asked.outcome.cancel()
            raise
        else:
            asked.outcome.set_result(changed)

    async def _apply(self, asked: _Asked) -> bool:
        event, before = asked.event, self._reached
        left = before
        try:
            after = next_situation(before, event)
            if isinstance(after, Declined):
                self._announcements.declined(event)
                raise after.reasons
            left = left_of(before, event)
            changed = await self._bring(before, after, event)
        finally:
            if self._asked and self._asked[0] is asked:
                self._reach(left)
        self._announcements.taken(event, before, after)
        await self._announcements.keep(event)
        return changed

    async def _bring(self, before: Situation, after: Situation, event: Event) -> bool:
        """The kernel first, then everyone who decides by it."""
        try:
            await self._restrained()
            changed = await self._kernel.bring(after.snapshot)
        except Exception as error:
            self._announcements.failed(event, before, error)
            raise
        self._reach(after)
        if changed and after.snapshot.enforcing and not self._enforcing:
            # It was asked for while the kernel changed.
            self._do_at_once(self._kernel.disarm)
        await self._finished_at_once()
        if changed or after.snapshot is not before.snapshot:
            self._note_networks()
        return changed

    def _reach(self, situation: Situation) -> None:
        """The event whose turn it was is through, and has led to this."""
        self._reached = situation
        self._asked.popleft()
        self._act()

    def _act(self) -> None:
        """Act on what has been reached, less whatever was asked for against slowing."""
        before, situation = self.situation.snapshot, self._reached
        for asked in self._asked:
            situation = urgent(situation, asked.event)
        self.situation, snapshot = situation, situation.snapshot
        if snapshot is before:
            return
        self._in_force.adopt(snapshot)
        self._announcements.acted(before, snapshot)
        if before.enforcing and not snapshot.enforcing:
            self._do_at_once(self._kernel.disarm)
        if self._kernel.protects_others(snapshot):
            self._do_at_once(self._protect)

    @property
    def _enforcing(self) -> bool:
        return self.situation.snapshot.enforcing

    async def _protect(self) -> None:
        await self._kernel.protect(self.situation.snapshot)

    def _do_at_once(self, work: Callable[[], Awaitable[None]]) -> None:
        self._at_once.add(task := asyncio.create_task(_told(work)))
        task.add_done_callback(self._at_once.discard)

    async def _finished_at_once(self) -> None:
        if self._at_once:
            await asyncio.wait({*self._at_once})

    async def _restrained(self) -> None:
        """Whoever was to be spared at once is; raises why not."""
        await self._finished_at_once()
        await self._protect()

    def _note_networks(self) -> None:
        """Tell, once, of subscribers that a registration leaves alone together."""
        found = self._reached.snapshot.spared_networks(self._kernel.spared)
        self._announcements.spared(found, self._in_force.spared_networks)
        self._in_force.spared_networks = found


async def _told(work: Callable[[], Awaitable[None]]) -> None:
    """Do what is urgent; where it fails, the event's own turn tries again and tells."""
    try:
        await work()
    except VpngateError as error:
        for line in error.lines:
            _log.warning("not at once: %s", line)
    except Exception:  # noqa: BLE001 - told, and the event's turn is still to come
        _log.exception("not at once: this should not have happened")


def _looked_at(outcome: asyncio.Future[bool]) -> None:
    """Whoever asked may be gone: an error that nobody awaits is no news any more."""
    if not outcome.cancelled():
        outcome.exception()
