# SPDX-License-Identifier: GPL-2.0-or-later
"""Work that many ask for at once and that is done once for all of them.

Knows how often it may begin; does not know the work. Callers get the result of work
that began after they asked, never an older one.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

PACE = 0.1  # seconds from one beginning to the next

_R = TypeVar("_R")


class SharedWork(Generic[_R]):
    """`work`, one at a time, begun at most every `pace` seconds; of one event loop.

    After `patience` seconds it is given up, and all who wait get TimeoutError.
    """

    def __init__(
        self, work: Callable[[], Awaitable[_R]], *, patience: float, pace: float = PACE
    ) -> None:
        self._work = work
        self._patience = patience
        self._pace = pace
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[_R] | None = None
        self._earliest = 0.0

    async def __call__(self) -> _R:
        """What the work returns or raises; cancelling one caller ends nobody else's."""
        if self._next is None:
            self._next = asyncio.create_task(self._once())
            self._next.add_done_callback(_looked_at)
        return await asyncio.shield(self._next)

    async def _once(self) -> _R:
        loop = asyncio.get_running_loop()
        async with self._turn:
            await asyncio.sleep(max(0.0, self._earliest - loop.time()))
            self._next = None
            # In this very task: one of its own would begin when others have had a turn.
            async with asyncio.timeout(self._patience):
                self._earliest = loop.time() + self._pace
                return await self._work()


def _looked_at(task: asyncio.Task[_R]) -> None:
    if not task.cancelled():
        task.exception()  # whoever asked may have been cancelled
