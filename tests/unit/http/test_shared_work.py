# SPDX-License-Identifier: GPL-2.0-or-later
"""What many ask for is done once for them, and never before they asked."""

import asyncio

import pytest

from vpngate.http.shared_work import SharedWork

PACE = 0.05


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

    asyncio.run(run())


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

    asyncio.run(run())


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

    asyncio.run(run())


def test_what_takes_too_long_is_given_up_and_the_next_may_come() -> None:
    async def run() -> None:
        work = Work()
        work.go_on.clear()
        paced = SharedWork(work, patience=0.1, pace=PACE)
        with pytest.raises(TimeoutError):
            await paced()
        work.go_on.set()
        assert await paced() == 2

    asyncio.run(run())
