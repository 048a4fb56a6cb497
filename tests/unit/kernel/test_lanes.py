# SPDX-License-Identifier: GPL-2.0-or-later
"""What is urgent overtakes what waits, whoever waits for it."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest

from vpngate.kernel.lanes import Lanes

PATIENCE = 60  # seconds


@contextlib.contextmanager
def opened() -> Iterator[Lanes]:
    lanes = Lanes()
    lanes.open()
    try:
        yield lanes
    finally:
        lanes.close()


def test_what_is_urgent_comes_next_and_in_its_order() -> None:
    done: list[str] = []
    gate = threading.Event()

    async def scenario() -> None:
        with opened() as lanes:
            first = asyncio.create_task(lanes.do(gate.wait, PATIENCE))
            rest = [
                asyncio.create_task(lanes.do(done.append, f"queued {number}"))
                for number in range(3)
            ]
            await asyncio.sleep(0)
            urgent = [
                asyncio.create_task(lanes.hurry(done.append, f"urgent {number}"))
                for number in range(2)
            ]
            await asyncio.sleep(0)
            gate.set()
            await asyncio.gather(first, *rest, *urgent)

    asyncio.run(scenario())
    assert done == ["urgent 0", "urgent 1", "queued 0", "queued 1", "queued 2"]


def test_what_was_asked_for_is_done_though_nobody_waits_any_more() -> None:
    done = threading.Event()
    gate = threading.Event()

    async def scenario() -> None:
        with opened() as lanes:
            asking = [lanes.do(gate.wait, PATIENCE), lanes.do(done.set)]
            tasks = [asyncio.create_task(each) for each in asking]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            gate.set()
            assert await asyncio.to_thread(done.wait, PATIENCE)

    asyncio.run(scenario())


def test_what_waits_is_done_before_the_end_and_nothing_is_taken_after_it() -> None:
    done: list[int] = []
    gate, over = threading.Event(), threading.Event()
    with opened() as lanes:
        lanes.urge(gate.wait, PATIENCE)
        lanes.urge(done.append, 1)
        lanes.urge(over.set)
    with pytest.raises(RuntimeError, match="not been started"):
        lanes.urge(over.set)
    gate.set()
    assert over.wait(PATIENCE)
    assert done == [1]


def test_an_error_is_told_to_whoever_waits_and_the_next_step_is_done() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async def scenario() -> None:
        with opened() as lanes:
            with pytest.raises(ZeroDivisionError):
                await lanes.do(fail)
            assert await lanes.do(len, "ab") == 2

    asyncio.run(scenario())


def test_what_nobody_waits_for_may_fail_and_a_loop_may_be_gone() -> None:
    gate, over = threading.Event(), threading.Event()

    def fail() -> None:
        raise ZeroDivisionError

    with opened() as lanes:
        loop = asyncio.new_event_loop()
        left = loop.create_task(lanes.do(gate.wait, PATIENCE))
        loop.run_until_complete(asyncio.sleep(0))
        left.cancel()
        loop.run_until_complete(asyncio.gather(left, return_exceptions=True))
        loop.close()
        gate.set()
        lanes.urge(fail)
        lanes.urge(over.set)
        assert over.wait(PATIENCE)


def test_every_step_of_many_threads_is_done_once_and_in_its_order() -> None:
    threads, steps = 8, 500
    done: list[tuple[int, int]] = []
    over = threading.Event()
    with opened() as lanes:

        def ask(own: int) -> None:
            for number in range(steps):
                lanes.urge(done.append, (own, number))

        asking = [threading.Thread(target=ask, args=(own,)) for own in range(threads)]
        for one in asking:
            one.start()
        for one in asking:
            one.join()
        lanes.urge(over.set)
        assert over.wait(PATIENCE)
    for own in range(threads):
        assert [number for who, number in done if who == own] == [*range(steps)]
