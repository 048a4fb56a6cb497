# SPDX-License-Identifier: GPL-2.0-or-later
"""Brings event after event into force: kernel, pipeline, metrics, log, disk.

Knows the order: one event at a time, in the order in which they came; but what of an
event slows less is acted on as soon as it is asked for, beside a change that is under
way, and stays so whatever becomes of the rest. Does not know what an event means
(`transition.py`).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import NamedTuple

from vpngate.daemon.applying.announcements import Announcements
from vpngate.daemon.applying.at_once import AtOnce
from vpngate.daemon.applying.events import Declined, Event, Situation
from vpngate.daemon.applying.in_kernel import InKernel, fewer_chosen, let_go_of
from vpngate.daemon.applying.transition import (
    left_of,
    next_situation,
    supersedes,
    urgent,
)
from vpngate.daemon.in_force import InForce
from vpngate.daemon.kept.kept_stance import KeptStance
from vpngate.daemon.wall_clock import read_machine
from vpngate.errors import VpngateError
from vpngate.stance import Confirmation, Enforce, StanceEvent, acts_no_more
from vpngate.supply.keeper import Delivery
from vpngate.timekeeping.clock import Reading


class _Asked(NamedTuple):
    event: Event
    at: Reading
    outcome: asyncio.Future[bool]


class Applier:
    """The one writer of what is in force: `install` first, then `run`.

    situation  what is acted on at this moment
    """

    def __init__(  # noqa: PLR0913, PLR0917 - it brings all of them together
        self,
        situation: Situation,
        in_force: InForce,
        kernel: InKernel,
        announcements: Announcements,
        stances: KeptStance,
        read: Callable[[], Reading] = read_machine,
    ) -> None:
        """`situation` is the first one; its snapshot is in `in_force` already.

        `stances` keeps the stance; `read` reads the clocks, when an event comes.
        """
        self.situation = situation
        self._reached = situation  # by the events that are through
        self._in_force = in_force
        self._kernel = kernel
        self._announcements = announcements
        self._stances = stances
        self._read = read
        self._promised: Situation | None = None  # kept, and not acted on yet
        self._asked: deque[_Asked] = deque()  # the first of them is being applied
        self._news = asyncio.Event()
        self._at_once = AtOnce()
        self._ended = False

    @property
    def is_idle(self) -> bool:
        """Whether no event is being applied, and none waits."""
        return not self._asked

    async def install(self, delivery: Delivery) -> None:
        """Have the kernel hold the first situation, whose registry this brought."""
        await self._keep_stance()
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
        self._asked.append(_Asked(event, self._read(), outcome))
        self._news.set()
        self._act()
        return outcome

    async def take(self, event: Event) -> bool:
        """Submit an event, and wait for its outcome; raises what kept it."""
        return await asyncio.shield(self.submit(event))

    async def take_at_once(self, event: StanceEvent) -> None:
        """Submit what is urgent as a whole, and wait for no more than that it acts.

        Where not all of it could be had at once, for its outcome.
        """
        before = self._at_once.under_way
        outcome = self.submit(event)
        # What the same word has begun before, if it was said already.
        begun = self._at_once.under_way - before or before
        if not await self._at_once.finished(begun):
            await asyncio.shield(outcome)

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
            self._at_once.cancel()
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
        event, at, before = asked.event, asked.at, self._reached
        left = before
        try:
            after = next_situation(before, event, at)
            if isinstance(after, Declined):
                self._announcements.declined(event)
                raise after.reasons
            left = left_of(before, event, at)
            await self._promise(before, after, event)
            changed = await self._bring(before, after, event)
        finally:
            if self._asked and self._asked[0] is asked:
                self._reach(left)
        self._announcements.taken(event, before, after)
        await self._announcements.keep(event)
        return changed

    async def _promise(self, before: Situation, after: Situation, event: Event) -> None:
        """A stance that acts on more is kept before it is acted on.

        What a person asks for is refused where that cannot be. What the file says can
        be read there again.
        """
        following = self._less_what_follows(after, behind=1)
        if acts_no_more(following.snapshot.stance, before.snapshot.stance):
            return
        self._promised = after
        try:
            await self._stances.keep(after.snapshot.stance)
        except VpngateError as error:
            if isinstance(event, Enforce | Confirmation):
                self._announcements.declined(event)
                raise
            self._announcements.not_kept(error)

    async def _bring(self, before: Situation, after: Situation, event: Event) -> bool:
        """The kernel first, then everyone who decides by it."""
        try:
            await self._restrained()
            changed = await self._kernel.bring(after.snapshot)
        except Exception as error:
            self._announcements.failed(event, before, error)
            raise
        self._reach(after)
        if let_go_of(before.snapshot, after.snapshot) is not None:
            # What was decided before may have come to the kernel since.
            self._at_once.do(partial(self._release_late_ones, before, after))
        if changed and after.snapshot.enforcing and not self._enforcing:
            # It was asked for while the kernel changed.
            self._at_once.do(self._kernel.disarm)
        await self._at_once.finished()
        if changed or after.snapshot is not before.snapshot:
            self._note_networks()
        return changed

    def _reach(self, situation: Situation) -> None:
        """The event whose turn it was is through, and has led to this."""
        self._reached = situation
        self._promised = None
        self._asked.popleft()
        self._act()

    def _act(self) -> None:
        """Act on what has been reached, less whatever was asked for against slowing."""
        before = self.situation.snapshot
        self.situation = self._less_what_follows(self._reached)
        snapshot = self.situation.snapshot
        if snapshot is not before:
            if before.enforcing and not snapshot.enforcing:
                self._at_once.do(self._kernel.disarm)
            if self._kernel.protects_others(snapshot):
                self._at_once.do(self._protect)
            self._in_force.adopt(snapshot)
            if snapshot.enforcing and fewer_chosen(before, snapshot):
                self._at_once.do(partial(self._kernel.release_unchosen, snapshot))
            self._announcements.acted(before, snapshot)
        changed = snapshot.stance != before.stance
        if not self._stances.has(snapshot.stance) and (changed or not self._is_due()):
            self._at_once.do(self._keep_stance)

    def _less_what_follows(self, situation: Situation, behind: int = 0) -> Situation:
        """A situation, less what was asked for against slowing, so far behind."""
        for asked in islice(self._asked, behind, None):
            situation = urgent(situation, asked.event, asked.at)
        return situation

    def _is_due(self) -> bool:
        """Whether what is kept will be acted on, and is more than what is now."""
        if self._promised is None:
            return False
        following = self._less_what_follows(self._promised, behind=1)
        now = self.situation.snapshot.stance
        return not acts_no_more(following.snapshot.stance, now)

    async def _keep_stance(self) -> None:
        """What acts on less acts in any case; after a restart it must not be more."""
        try:
            await self._stances.keep(self.situation.snapshot.stance)
        except VpngateError as error:
            self._announcements.not_kept(error, "; it is acted on all the same")
        else:
            return
        try:
            await self._stances.forget()
        except VpngateError:
            self._announcements.restarting(may_act=True)
        else:
            self._announcements.restarting(may_act=False)

    @property
    def _enforcing(self) -> bool:
        return self.situation.snapshot.enforcing

    async def _release_late_ones(self, before: Situation, after: Situation) -> None:
        async with self._in_force.handing_over:
            await self._kernel.release(before.snapshot, after.snapshot)

    async def _protect(self) -> None:
        await self._kernel.protect(self.situation.snapshot)

    async def _restrained(self) -> None:
        """Whoever was to be spared at once is; raises why not."""
        await self._at_once.finished()
        await self._protect()

    def _note_networks(self) -> None:
        """Tell, once, of subscribers that a registration leaves alone together."""
        found = self._reached.snapshot.spared_networks(self._kernel.spared)
        self._announcements.spared(found, self._in_force.spared_networks)
        self._in_force.spared_networks = found


def _looked_at(outcome: asyncio.Future[bool]) -> None:
    """Whoever asked may be gone: an error that nobody awaits is no news any more."""
    if not outcome.cancelled():
        outcome.exception()
