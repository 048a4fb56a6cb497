# SPDX-License-Identifier: GPL-2.0-or-later
"""The data plane of the running kernel.

Knows what must wait for what, and what is told to whom; does not know what the steps
of a change are made of (`steps.py`), nor the bytes of any of it.

Everything that talks to the kernel runs in one thread (`lanes.py`). A long change is
many short steps of that thread, so that verdicts find their way in between, and what is
urgent comes next. Only one change of rules is under way at a time.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from vpngate.errors import VpngateError
from vpngate.kernel.comparing import found, together
from vpngate.kernel.detour.totals import glance, total
from vpngate.kernel.detour.verdicts import any_of
from vpngate.kernel.lanes import Lanes
from vpngate.kernel.mending import Mending
from vpngate.kernel.plane import NOBODY, Comparison, Counters, Glance
from vpngate.kernel.sparing import Complaint, Sparing, tell, tell_repaired
from vpngate.kernel.steps import Steps
from vpngate.kernel.wire.failures import Unanswered
from vpngate.kernel.wire.links import Announcement, Watcher
from vpngate.plan import Plan, plan
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset

_LOOK_AFTER = 5.0  # seconds between looks at what has ended
_MAKE_READY = 1.0  # seconds between looks at whether enough is ready
_REST, _REST_MOST = 0.05, 5.0  # seconds between a repair and another one
_SETTLED = 60.0  # seconds after a repair that has held
_WITHDRAWN_AT_ONCE = 50  # flows


class LiveDataPlane:
    """See `DataPlane` for what each method does.

    `watcher` is who announces changes of links, if somebody has one already; else the
    plane has its own from start to stop. `steps` are what changes are made of: those of
    nftables if nothing else is said.
    """

    def __init__(
        self, watcher: Watcher | None = None, steps: Steps | None = None
    ) -> None:
        self.still_wanted: Callable[[Throttle], bool] = lambda _flow: True
        self._lanes = Lanes()
        self._do = self._lanes.do
        self._steps = Steps() if steps is None else steps
        self._changing = asyncio.Lock()
        self._shared = watcher
        self._hearing = contextlib.ExitStack()
        self._tasks: set[asyncio.Task[None]] = set()
        self._repair_wanted = asyncio.Event()
        self._repaired: list[str] = []  # since `verify` last told
        self._sparing = Sparing(self._lanes, self._steps)
        parts = self._lanes, self._steps, self._sparing
        self._mending = Mending(*parts, again=self._repair_wanted.set)

    @property
    def refused(self) -> Mapping[str, str]:
        """Interfaces that the kernel will not hook, and why."""
        return self._steps.hooks.refused

    async def start(self, ruleset: Ruleset, protected: Intervals = NOBODY) -> None:
        """Take the table and install `ruleset`, not armed yet."""
        async with self._changing:
            self._lanes.open()
            try:
                await self._do(self._steps.open, ruleset, protected)
                await asyncio.to_thread(self._steps.spared.begin, ruleset.spared)
                await self._sparing.fill(ruleset.spared)
                await self._do(self._steps.install, ruleset)
                await self._mending.stand()
                if not await self._sparing.in_sync():
                    await self._sparing.refill()
                self._listen()
            except BaseException:
                await self._close()
                raise
        after = self._look_after(), self._make_ready(), self._repair_when_wanted()
        self._tasks.update(map(asyncio.create_task, after))

    async def replace(self, ruleset: Ruleset) -> None:
        """Apply the difference to another ruleset; to observe means to stop at once."""
        sake = object()
        try:
            if not ruleset.enforce:
                off = partial(self._steps.switch.keep_off, sake)
                await self._lanes.hurry(self._steps.turning_off(off))
            async with self._changing:
                await self._replace(ruleset)
        finally:
            if not ruleset.enforce and self._lanes.are_open:
                self._lanes.urge(self._steps.let, sake)

    async def _replace(self, ruleset: Ruleset) -> None:
        await self._mending.end_verdicts()  # of a change that was not waited for
        planned = await asyncio.to_thread(self._plan, ruleset)
        try:
            await self._do(self._steps.prepare, ruleset, planned)
            if planned.swap:
                await self._sparing.fill_anew(ruleset.spared)
            rules = None
            if planned.rules:  # made of what was filled
                rules = await asyncio.to_thread(self._steps.rules, ruleset)
            if not planned.swap:
                await self._sparing.apply(planned.spared)
            await self._do(self._steps.turn, ruleset, planned, rules)
            self._sparing.doubted &= not planned.swap
        except BaseException as error:
            self._sparing.doubted |= isinstance(error, Unanswered)
            await self._sparing.give_up(self._steps.abandon, ruleset, planned)
            await self._sparing.take_back()
            self._repair_wanted.set()
            raise
        await self._mending.conclude()
        if await self._sparing.read_back(planned):
            self._repaired.append("spared")

    def _plan(self, ruleset: Ruleset) -> Plan:
        planned = plan(self._steps.ruleset, ruleset)
        swap = planned.swap or self._sparing.doubted
        swap = swap or self._steps.spared.outgrows(ruleset.spared, planned.spared)
        return replace(planned, swap=swap)

    async def protect(self, addresses: Intervals) -> None:
        """Protect exactly these from now on, whatever change is under way."""
        await self._sparing.protect(addresses)
        await self._mending.end_verdicts()

    async def throttle(self, flows: Sequence[Throttle]) -> None:
        """Add verdicts; those with a spared end are dropped."""
        left = list(flows)
        while left:
            await self._do(self._steps.throttle, left, self.still_wanted)

    async def withdraw(self, flows: Sequence[Throttle]) -> None:
        """End the verdicts on these flows; those that have none are passed over."""
        for start in range(0, len(flows), _WITHDRAWN_AT_ONCE):
            few = flows[start : start + _WITHDRAWN_AT_ONCE]
            await self._do(self._steps.throttled.withdraw, few, time.monotonic())

    async def release(self, chosen: Callable[[Throttle], bool]) -> int:
        """End the verdicts that the predicate picks; returns how many."""
        sweep = await self._do(self._steps.end, lambda flows: [*map(chosen, flows)])
        while not sweep.done:
            await self._do(self._steps.end_few)
        return sweep.picked

    async def slowed(self) -> Sequence[Throttle]:
        """The flows that have a verdict, as far as is known."""
        verdicts = await self._do(self._steps.throttled.verdicts)
        return [held.flow for held in verdicts if not held.ended]

    async def slows(self, subscriber: bytes, bucket: bytes) -> bool:
        """Whether a flow of this address has a verdict, as far as is known."""
        some = await self._do(self._steps.throttled.perhaps_of, bucket)
        return await asyncio.to_thread(any_of, subscriber, some)

    async def rearm(self, at_most: float = math.inf) -> bool:
        """Extend the dead man's time, by no more than that; whether it is armed."""
        return await self._lanes.hurry(self._steps.rearm, at_most)

    async def disarm(self) -> None:
        """Stop throttling at once, until the next `rearm`."""
        await self._lanes.hurry(self._steps.turning_off(self._steps.switch.disarm))

    async def counters(self) -> Counters:
        """Current totals."""
        for number in self._steps.shaper.numbers:
            await self._do(self._steps.throttled.classes.take, number)
        return await self._do(total, self._steps.table, self._steps.throttled)

    async def glance(self) -> Glance:
        """A few counts, at next to no cost."""
        steps, sparing = self._steps, self._sparing
        differed, in_a_row = sparing.differed, sparing.disagreements
        if steps.protected.are_ripe:
            with contextlib.suppress(VpngateError):  # what follows must not wait for it
                await self._do(steps.protected.ripen)
        parts = steps.table, steps.throttled, steps.witness
        return await self._do(glance, *parts, differed=differed, disagreements=in_a_row)

    async def verify(self) -> Sequence[str]:
        """Read back and compare; returns what was repaired, by metric label."""
        async with self._changing:
            # The first of all is who is spared, whatever else is amiss.
            wrong = await self._sparing.verify()
            repaired = [*self._repaired, *await self._mending.check()]
            repaired += await self._mending.mend()
            self._repaired = []
            return [*repaired, "spared"] if wrong else repaired

    async def compare(self) -> Comparison:
        """Compare every spared or protected interval, few at a time."""
        steps, changing = self._steps, self._changing
        doubted = self._sparing.doubted or steps.protected.doubted
        spared = await found(self._lanes, steps.spared, changing)
        protected = await found(self._lanes, steps.protected, changing)
        apart = [
            any(one.differing or one.surplus for one in each)
            for each in (spared, protected)
        ]
        if not doubted:
            self._sparing.note(agrees=not any(apart))
        self._sparing.doubted |= apart[0]
        steps.protected.doubted |= apart[1]
        return together(spared, protected)

    async def stop(self) -> None:
        """Leave nothing behind, in the order that blocks no packet."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        async with self._changing:
            if self._lanes.are_open:
                await self._close()

    async def _close(self) -> None:
        await asyncio.to_thread(self._hearing.close)
        try:
            await self._do(self._steps.take_down)
            await self._mending.wind_up()
        finally:
            await self._do(self._steps.close)
            self._lanes.close()

    def _listen(self) -> None:
        watcher = self._shared or Watcher()
        if watcher is not self._shared:
            self._hearing.callback(watcher.close)
        listener = partial(self._notice, asyncio.get_running_loop())
        watcher.tell(listener)
        self._hearing.callback(watcher.leave, listener)
        self._hearing.enter_context(self._steps.hearing(listener))

    def _notice(self, loop: asyncio.AbstractEventLoop, news: Announcement) -> None:
        """In the watcher's thread: disarm now, have it repaired soon."""
        if not self._lanes.are_open or not self._steps.concerns(news):
            return
        if (urgent := self._steps.at_once(news)) is not None:
            with contextlib.suppress(RuntimeError):  # it is being shut down
                self._lanes.urge(self._steps.turning_off(urgent))
        loop.call_soon_threadsafe(self._repair_wanted.set)

    async def _repair_when_wanted(self) -> None:
        last, rest = 0.0, _REST
        while True:
            await self._repair_wanted.wait()
            self._repair_wanted.clear()
            try:
                async with self._changing:
                    repaired = await self._mending.mend()
                if repaired:
                    self._repaired += repaired
                    tell_repaired(repaired)
                    # Somebody may undo it each time, as soon as it is announced.
                    again = time.monotonic() - last < _SETTLED
                    rest = min(2 * rest, _REST_MOST) if again else _REST
                    await asyncio.sleep(rest)
                    last = time.monotonic()
                else:  # of a thousand announcements a second, twenty looks come
                    await asyncio.sleep(_REST)
            except Exception as error:  # noqa: BLE001 - it must go on
                tell("cannot repair the data plane", error)

    async def _look_after(self) -> None:
        complaint = Complaint("cannot look after verdicts")
        while True:
            await asyncio.sleep(_LOOK_AFTER)
            try:
                await self._mending.end_verdicts()
                throttled = self._steps.throttled
                while await self._do(throttled.look_after, time.monotonic()):
                    pass
                await self._do(throttled.tidy, time.monotonic())
                await self._mending.advance()
                complaint.over()
            except Exception as error:  # noqa: BLE001 - it must go on
                complaint.tell(error)

    async def _make_ready(self) -> None:
        while True:
            many = self._steps.throttled.are_many
            await asyncio.sleep(_MAKE_READY if many else _LOOK_AFTER)
            try:
                await self._mending.make_ready()
            except Exception as error:  # noqa: BLE001 - it must go on
                tell("cannot make classes ready", error)
