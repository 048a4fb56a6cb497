# SPDX-License-Identifier: GPL-2.0-or-later
"""The data plane of the running kernel.

Knows what must wait for what, and what is told to whom; does not know what the steps
of a change are made of (`steps.py`), nor the bytes of any of it.

Everything that talks to the kernel runs in one thread, in the order in which it was
asked for. A long change is many short steps of that thread, so that re-arming and
verdicts find their way in between. Only one change of rules is under way at a time.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from vpngate.errors import VpngateError
from vpngate.kernel.detour.throttled import FLOWS_A_STEP
from vpngate.kernel.detour.totals import total
from vpngate.kernel.plane import Comparison, Counters
from vpngate.kernel.steps import Steps
from vpngate.kernel.table.readback import after_change
from vpngate.kernel.wire.channel import Unanswered, in_one_line
from vpngate.kernel.wire.links import Announcement, Watcher
from vpngate.packets import Family
from vpngate.plan import Plan, plan
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset

_LOOK_AFTER = 5.0  # seconds between looks at what has ended
_P = ParamSpec("_P")
_R = TypeVar("_R")

logger = logging.getLogger(__name__)


class LiveDataPlane:
    """See `DataPlane` for what each method does.

    `watcher` is who announces changes of links, if somebody has one already; else the
    plane has its own from start to stop.
    """

    def __init__(self, watcher: Watcher | None = None) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._steps = Steps()
        self._changing = asyncio.Lock()
        self._shared = watcher
        self._hearing = contextlib.ExitStack()
        self._tasks: set[asyncio.Task[None]] = set()
        self._repair_wanted = asyncio.Event()
        self._repaired: list[str] = []  # since `verify` last told
        self._doubted = False  # whether the spared sets may not be what they should

    @property
    def refused(self) -> Mapping[str, str]:
        """Interfaces that the kernel will not hook, and why."""
        return self._steps.hooks.refused

    async def start(self, ruleset: Ruleset) -> None:
        """Take the table and install `ruleset`, not armed yet."""
        async with self._changing:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="vpngate-kernel")
            try:
                await self._do(self._steps.open, ruleset)
                await self._fill(ruleset.spared)
                await self._do(self._steps.install, ruleset)
                self._doubted = not await self._do(self._steps.spared.in_sync)
                if self._doubted:
                    await self._refill()
                self._listen()
            except BaseException:
                await self._close()
                raise
        for work in (self._look_after(), self._repair_when_wanted()):
            self._tasks.add(asyncio.create_task(work))

    async def replace(self, ruleset: Ruleset) -> None:
        """Apply the difference to another ruleset."""
        async with self._changing:
            planned = await asyncio.to_thread(plan, self._steps.ruleset, ruleset)
            try:
                await self._do(self._steps.prepare, ruleset, planned)
                if planned.swap:
                    await self._fill(ruleset.spared)
                await self._do(self._steps.turn, ruleset, planned)
            except BaseException as error:
                self._doubted |= isinstance(error, Unanswered)
                await self._give_up(self._steps.abandon, ruleset, planned)
                self._repair_wanted.set()
                raise
            await self._conclude(planned)
            await self._read_back(planned)

    async def throttle(self, flows: Sequence[Throttle]) -> None:
        """Add verdicts; those with a spared end are dropped."""
        for start in range(0, len(flows), FLOWS_A_STEP):
            few = flows[start : start + FLOWS_A_STEP]
            await self._do(self._steps.throttle, few)

    async def withdraw(self, flows: Sequence[Throttle]) -> None:
        """End the verdicts on these flows; those that have none are passed over."""
        for start in range(0, len(flows), FLOWS_A_STEP):
            few = flows[start : start + FLOWS_A_STEP]
            await self._do(self._steps.throttled.withdraw, few, time.monotonic())

    async def release(self, chosen: Callable[[Throttle], bool]) -> int:
        """End the verdicts that the predicate picks; returns how many."""
        return await self._do(self._steps.throttled.release, chosen, time.monotonic())

    async def rearm(self) -> bool:
        """Extend the dead man's time; whether it is armed."""
        return await self._do(self._steps.rearm)

    async def disarm(self) -> None:
        """Stop throttling at once, until the next `rearm`."""
        await self._do(self._steps.switch.disarm)

    async def counters(self) -> Counters:
        """Current totals."""
        return await self._do(total, self._steps.table, self._steps.throttled)

    async def verify(self) -> Sequence[str]:
        """Read back and compare; returns what was repaired, by metric label."""
        async with self._changing:
            repaired = self._repaired + list(await self._do(self._steps.repair))
            self._repaired = []
            await self._advance()
            if self._doubted or not await self._do(self._steps.spared.in_sync):
                await self._refill()
                repaired.append("spared")
            return repaired

    async def compare(self) -> Comparison:
        """Compare every spared interval with the kernel's, few at a time."""
        compared, differing = Counter[str](), Counter[str]()
        surplus: dict[str, int | None] = {}
        for family in Family:
            label, last = family.label, None
            while True:
                found = await self._do(self._steps.spared.compare, family, last)
                compared[label] += found.compared
                differing[label] += found.differing
                if found.last is None:
                    break
                last = found.last
            surplus[label] = None
            if not differing[label]:
                surplus[label] = await self._do(self._steps.spared.surplus, family)
        comparison = Comparison(dict(compared), dict(differing), surplus)
        self._doubted |= not comparison.equal
        return comparison

    async def stop(self) -> None:
        """Leave nothing behind, in the order that blocks no packet."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        async with self._changing:
            if self._thread is not None:
                await self._close()

    async def _close(self) -> None:
        await asyncio.to_thread(self._hearing.close)
        if self._thread is not None:
            try:
                await self._do(self._steps.close)
            finally:
                self._thread.shutdown(wait=False)
                self._thread = None

    async def _fill(self, spared: Intervals) -> None:
        """Fill spared sets that no rule names yet, step by step."""
        sets = self._steps.spared
        for family, few in sets.parts(spared):
            await self._do(sets.fill, family, few)

    async def _advance(self) -> None:
        """Make the classes that wait for it, step by step."""
        while await self._do(self._steps.throttled.classes.advance):
            pass

    async def _conclude(self, planned: Plan) -> None:
        """Clear up behind a change that is in force, whatever becomes of this."""
        try:
            await self._do(self._steps.finish, planned)
            await self._advance()
        except VpngateError as error:
            _tell("cannot clear up behind a change", error)
            self._repair_wanted.set()

    async def _refill(self) -> None:
        """Put fresh spared sets in the place of those that differ."""
        sets = self._steps.spared
        self._doubted = True
        try:
            await self._do(sets.begin_anew)
            await self._fill(sets.held)
            await self._do(self._steps.turn_refilled)
        except BaseException:
            await self._give_up(sets.abandon)
            raise
        self._doubted = False

    async def _read_back(self, planned: Plan) -> None:
        """Ask for what a change did to the spared sets; fresh ones if it differs.

        The change stands: what fails here is tried again by `verify`.
        """
        sets = self._steps.spared
        asked = after_change(sets.held, planned.spared, anew=planned.swap)
        try:
            for family, few in asked:
                if not await self._do(sets.agrees, family, few):
                    await self._refill()
                    self._repaired.append("spared")
                    logger.warning("repaired in the kernel: spared")
                    break
        except VpngateError as error:
            self._doubted = True
            _tell("cannot read back the spared sets", error)

    async def _give_up(
        self, work: Callable[_P, None], *args: _P.args, **kwargs: _P.kwargs
    ) -> None:
        """Take down what was prepared; the error that led here is the one to tell."""
        try:
            await self._do(work, *args, **kwargs)
        except VpngateError as error:
            _tell("cannot take down what was prepared", error)

    async def _do(
        self, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs
    ) -> _R:
        """Have the kernel's thread do it; also when cancelled, it gets done."""
        if self._thread is None:
            raise RuntimeError("the data plane has not been started")
        loop = asyncio.get_running_loop()
        step = getattr(work, "__name__", "work").replace("_", " ")

        def call() -> _R:
            with in_one_line(f"complete the step '{step}'"):
                return work(*args, **kwargs)

        return await asyncio.shield(loop.run_in_executor(self._thread, call))

    def _listen(self) -> None:
        watcher = self._shared
        if watcher is None:
            watcher = Watcher()
            self._hearing.callback(watcher.close)
        listener = partial(self._notice, asyncio.get_running_loop())
        watcher.tell(listener)
        self._hearing.callback(watcher.leave, listener)

    def _notice(self, loop: asyncio.AbstractEventLoop, news: Announcement) -> None:
        """In the watcher's thread: disarm now, have it repaired soon."""
        thread = self._thread
        if thread is None or not self._steps.concerns(news):
            return
        if self._steps.endangers(news):
            with contextlib.suppress(RuntimeError):  # it is being shut down
                thread.submit(self._steps.switch.break_off)
        loop.call_soon_threadsafe(self._repair_wanted.set)

    async def _repair_when_wanted(self) -> None:
        while True:
            await self._repair_wanted.wait()
            self._repair_wanted.clear()
            try:
                async with self._changing:
                    repaired = await self._do(self._steps.repair)
                    await self._advance()
                if repaired:
                    self._repaired += repaired
                    logger.warning("repaired in the kernel: %s", ", ".join(repaired))
            except Exception as error:  # noqa: BLE001 - it must go on
                _tell("cannot repair the data plane", error)

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_AFTER)
            try:
                await self._do(self._steps.throttled.look_after, time.monotonic())
                await self._advance()
            except Exception as error:  # noqa: BLE001 - it must go on
                _tell("cannot look after verdicts", error)


def _tell(what: str, error: Exception) -> None:
    """Log it: in one line if it is of a kind that was thought of."""
    unforeseen = not isinstance(error, VpngateError)
    logger.error("%s: %s", what, error, exc_info=error if unforeseen else None)
