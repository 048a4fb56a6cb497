# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon's parts on a data plane whose changes are held up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.unit.daemon.desk import Desk
from tests.unit.daemon.gatehouse import REGISTRY, Gatehouse
from vpngate.errors import KernelRefused
from vpngate.kernel.dryrun import DryRunDataPlane
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset

PATIENCE = 60.0  # seconds


class Slow(DryRunDataPlane):
    """Notes what it is asked, and takes as long for a replace as it is held.

    refusing  how many of the next replaces fail, half way
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.begun = asyncio.Event()
        self.let_go = asyncio.Event()
        self.let_go.set()
        self.refusing = 0

    async def replace(self, ruleset: Ruleset) -> None:
        self.asked.append("replace begins")
        self.begun.set()
        await self.let_go.wait()
        if self.refusing:
            self.refusing -= 1
            self.asked.append("replace fails")
            raise KernelRefused("table vpngate: no memory")
        await super().replace(ruleset)
        self.asked.append("replace ends")

    async def protect(self, addresses: Intervals) -> None:
        self.asked.append("protect")
        await super().protect(addresses)

    async def disarm(self) -> None:
        self.asked.append("disarm")
        await super().disarm()

    async def release(self, chosen: Callable[[Throttle], bool]) -> int:
        self.asked.append("release")
        return await super().release(chosen)


class Held:
    """A daemon's parts whose plane is busy with a change of the registry."""

    def __init__(
        self, desk: Desk, plane: Slow, reloading: asyncio.Task[dict[str, Any]]
    ) -> None:
        self.desk = desk
        self.plane = plane
        self.reloading = reloading
        self.before = plane.ruleset
        self.tasks = [reloading]

    @property
    def gatehouse(self) -> Gatehouse:
        return self.desk.gatehouse

    def edit(self, old: str, new: str) -> None:
        text = self.desk.config.read_text()
        assert old in text
        self.desk.put(text.replace(old, new))

    def protect(self, prefix: str) -> None:
        text = self.desk.config.read_text()
        self.desk.put(f'{text}[protect]\nprefixes = ["{prefix}"]\n')

    def begin(self, work: Awaitable[Any]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(work)
        self.tasks.append(task)
        return task

    def reload(self) -> asyncio.Task[Any]:
        return self.begin(self.desk.reloader.reload())

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.01)

    async def let_go(self) -> list[Any]:
        self.plane.let_go.set()
        async with asyncio.timeout(PATIENCE):
            outcomes: list[Any]
            outcomes = await asyncio.gather(*self.tasks, return_exceptions=True)
            return outcomes


@asynccontextmanager
async def held(folder: Path) -> AsyncIterator[Held]:
    """The registry of a first reload is on its way to the kernel, and stays so."""
    desk, plane = Desk(folder), Slow()
    gatehouse = await desk.open(plane)
    plane.let_go.clear()
    desk.registry.write_text(REGISTRY + "198.51.100.0/24,R-9\n")
    one = Held(desk, plane, asyncio.create_task(desk.reloader.reload()))
    async with asyncio.timeout(PATIENCE):
        await plane.begun.wait()
    plane.asked.clear()
    try:
        yield one
    finally:
        desk.reloader.cancel()
        gatehouse.applying.cancel()
        plane.let_go.set()
        await asyncio.gather(*one.tasks, gatehouse.applying, return_exceptions=True)
