# SPDX-License-Identifier: GPL-2.0-or-later
"""Work that blocks, is done again and again, or is shared by several callers.

Knows threads, tasks and when the loop is woken; does not know the work. A thread of
the loop's own pool would be waited for at the end of the program, however long its name
server takes: these are left alone as soon as nobody wants their result any more.
"""

import _thread
import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar

from vpngate.errors import MachineFault, Problem, VpngateError, no_memory

# Seconds in which a thread begins on any machine; one that has no memory for it ends
# before that, and nobody is told.
BEGUN_WITHIN = 30.0

_R = TypeVar("_R")


async def every(seconds: float, job: Callable[[], Awaitable[None]]) -> None:
    """Do a job again and again, for ever, with so long a pause before each time."""
    while True:
        await asyncio.sleep(seconds)
        await job()


def next_tick(seconds: float) -> float:
    """When the loop's clock will next be at a multiple of so many seconds.

    To be woken costs an idle daemon more than most of what it is woken for, so what is
    due each second is done at the same moment. That is no later than so many seconds
    from now: nobody who waits for it looks less often than after pauses of that length.
    """
    now = asyncio.get_running_loop().time()
    return (now // seconds + 1) * seconds


async def tick(seconds: float) -> float:
    """Wait for the next one; returns when it was due, by the loop's clock."""
    due = next_tick(seconds)
    await asyncio.sleep(due - asyncio.get_running_loop().time())
    return due


async def unless(
    stop: asyncio.Event, work: Coroutine[Any, Any, None], give_up: Callable[[], None]
) -> bool:
    """Do some work to its end, unless `stop` is set first; whether it was done.

    `give_up` has what blocks in it end, in another thread perhaps.
    """
    doing, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if doing.done():
        await doing
        return True
    give_up()
    doing.cancel()
    await asyncio.gather(doing, return_exceptions=True)
    return False


async def in_thread(work: Callable[..., _R], *arguments: Any, **options: Any) -> _R:
    """What `work` returns or raises, in a thread that nothing waits for but this.

    Raises MachineFault where no thread is to be had.
    """
    return await _begun(partial(work, *arguments, **options))


def _begun(work: Callable[[], _R]) -> asyncio.Future[_R]:
    loop = asyncio.get_running_loop()
    result: asyncio.Future[_R] = loop.create_future()
    turn = [None]  # who takes it has its way: the thread, or who gives it up

    def tell(how: Callable[[Any], None], what: object) -> None:
        if not result.done():  # else nobody waits any more
            how(what)

    def run() -> None:
        try:
            turn.pop()
        except IndexError:  # it was given up before it began
            return
        try:
            how, what = result.set_result, work()
        except VpngateError as error:
            # Without frames: they have what `work` was about, and this one the error.
            # No circle of a registry may wait for a collector (`garbage.py`).
            how, what = result.set_exception, error.alone()  # type: ignore[assignment]
        except MemoryError:
            fault = no_memory("what was asked for")
            how, what = result.set_exception, fault  # type: ignore[assignment]
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            how, what = result.set_exception, error  # type: ignore[assignment]
        with suppress(RuntimeError):  # the loop is gone, and so is whoever asked
            loop.call_soon_threadsafe(tell, how, what)

    def give_up() -> None:
        with suppress(IndexError):
            turn.pop()
            tell(result.set_exception, _no_thread())

    try:
        # `Thread.start` waits for word of the thread, in the event loop and for ever
        # where that has no memory to give it.
        _thread.start_new_thread(run, ())
    except (RuntimeError, MemoryError):
        raise _no_thread() from None
    giving_up = loop.call_later(BEGUN_WITHIN, give_up)
    result.add_done_callback(lambda _: giving_up.cancel())
    return result


def _no_thread() -> MachineFault:
    return MachineFault(
        Problem(
            "threads",
            "no other can be begun",
            "give the daemon more memory, or more tasks (MemoryMax, TasksMax)",
        )
    )


def first_of(errors: BaseExceptionGroup[VpngateError]) -> VpngateError:
    """The first error of a group, which may be groups in groups."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, VpngateError)  # noqa: S101 - `except*` chose them
    return error


class Shared(Generic[_R]):
    """Work that is done once for all who ask before it begins, one time at a time.

    What is begun has perhaps passed by what a later caller is about: he gets the
    next one.
    """

    def __init__(self, work: Callable[[], Awaitable[_R]]) -> None:
        self._work = work
        self._next: asyncio.Task[_R] | None = None
        self._running: set[asyncio.Task[_R]] = set()
        self.turn = asyncio.Lock()

    async def __call__(self) -> _R:
        """What the work returns or raises; cancelling one caller ends nobody else's."""
        if self._next is None:
            self._next = asyncio.create_task(self._once())
            self._running.add(self._next)
            self._next.add_done_callback(self._done)
        return await asyncio.shield(self._next)

    async def _once(self) -> _R:
        async with self.turn:
            self._next = None
            return await self._work()

    def _done(self, task: asyncio.Task[_R]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: whoever asked may have been cancelled

    def cancel(self) -> None:
        """End what runs and what waits."""
        self._next = None
        for task in self._running:
            task.cancel()
