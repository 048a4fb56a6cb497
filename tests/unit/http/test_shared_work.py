# SPDX-License-Identifier: GPL-2.0-or-later
"""What many ask for is done once for them, and never before they asked.

By a loop whose seconds pass when nothing is left to do, and at no other time.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any

import pytest

from vpngate.http.shared_work import SharedWork

PACE = 0.05


class Waiting(selectors.DefaultSelector):
    """Waits for nothing: the time that would pass has passed."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            self.now += timeout or 0.0
        return ready


class Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.waiting = Waiting()
        super().__init__(self.waiting)

    def time(self) -> float:
        return self.waiting.now


def run_through(scenario: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(scenario)


class Work:
    """Counts how often it was begun; waits until it is let go."""

    def __init__(self) -> None:
        self.begun: list[float] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self) -> int:
        self.begun.append(asyncio.get_running_loop().time())
        number = len(self.begun)
        await self.go_on.wait()
        return number


def test_all_who_ask_before_it_begins_share_it() -> None:
    async def run() -> None:
        work = Work()
        paced = SharedWork(work, patience=5, pace=PACE)
        assert await asyncio.gather(*(paced() for _ in range(100))) == [1] * 100
        assert await asyncio.gather(*(paced() for _ in range(100))) == [2] * 100
        first, second = work.begun
        assert second - first >= PACE

    run_through(run())


def test_what_holds_the_loop_up_brings_no_two_closer_together() -> None:
    """A turn of somebody else's, which takes long, as the first is about to begin."""

    async def hold_up(loop: Loop) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
            loop.waiting.now += PACE / 10

    async def run() -> None:
        work = Work()
        paced = SharedWork(work, patience=5, pace=PACE)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        assert (await asyncio.gather(paced(), hold_up(loop)))[0] == 1
        assert await paced() == 2
        first, second = work.begun
        assert second - first >= PACE

    run_through(run())


def test_who_asks_after_it_began_gets_the_next() -> None:
    async def run() -> None:
        work = Work()
        work.go_on.clear()
        paced = SharedWork(work, patience=5, pace=PACE)
        early = asyncio.create_task(paced())
        await asyncio.sleep(0.01)
        assert len(work.begun) == 1
        late = [asyncio.create_task(paced()) for _ in range(10)]
        await asyncio.sleep(2 * PACE)
        assert len(work.begun) == 1  # one at a time
        work.go_on.set()
        assert await early == 1
        assert await asyncio.gather(*late) == [2] * 10

    run_through(run())


def test_one_who_leaves_takes_nothing_from_the_others() -> None:
    async def run() -> None:
        work = Work()
        work.go_on.clear()
        paced = SharedWork(work, patience=5, pace=PACE)
        leaving, staying = (asyncio.create_task(paced()) for _ in range(2))
        await asyncio.sleep(0.01)
        leaving.cancel()
        work.go_on.set()
        assert await staying == 1

    run_through(run())


def test_what_takes_too_long_is_given_up_and_the_next_may_come() -> None:
    async def run() -> None:
        work = Work()
        work.go_on.clear()
        paced = SharedWork(work, patience=0.1, pace=PACE)
        with pytest.raises(TimeoutError):
            await paced()
        work.go_on.set()
        assert await paced() == 2

    run_through(run())
