# SPDX-License-Identifier: GPL-2.0-or-later
"""How long what is urgent waits while the kernel room has its hands full.

A row of the bench.
"""

import asyncio
import contextlib
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.contract import Curve, Effort, Figure, Row
from bench.kernel import disjoint, flow, gateway, ruleset
from bench.steps import Steps
from tests.lab.namespaces import Namespace
from tests.lab.plane import data_plane
from tests.planes import KIND, NEAR_END
from vpngate.daemon import garbage
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.way import Way
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset

BOUND = 100.0  # ms: what is urgent is done within that
BEAT = 0.01  # seconds between two rounds of what is urgent
IDLE = 600  # seconds: no verdict ends meanwhile
PROTECTED = (
    Intervals.of_prefixes(["198.51.100.0/24"]),
    Intervals.of_prefixes(["198.51.100.0/24", "192.0.2.0/24"]),
)


class Urgent:
    """Does what is urgent again and again; keeps how long each took."""

    def __init__(self, plane: LiveDataPlane) -> None:
        self._plane = plane
        self.taken: dict[str, list[float]] = {}

    async def _time(self, what: str, work: Callable[[], Awaitable[Any]]) -> None:
        begin = time.perf_counter()
        await work()
        self.taken.setdefault(what, []).append(time.perf_counter() - begin)

    async def _run(self) -> None:
        number = 0
        put = self._plane._steps.protected.put  # noqa: SLF001
        hurry = self._plane._lanes.hurry  # noqa: SLF001
        while True:
            await self._time("rearm", self._plane.rearm)
            await asyncio.sleep(BEAT)
            await self._time("disarm", self._plane.disarm)
            await asyncio.sleep(BEAT)
            number += 1
            guard = PROTECTED[number % 2]
            # What follows it, the ends of verdicts, is not what is waited for.
            await self._time("protect", partial(hurry, put, guard))
            await asyncio.sleep(BEAT)

    @contextlib.asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Meanwhile."""
        self.taken.clear()
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def meanwhile(
    what: str, work: Callable[[], Awaitable[Any]], urgent: Urgent, steps: Steps
) -> AsyncIterator[Figure]:
    """Do it; how long what was urgent took meanwhile."""
    async with urgent.going_on():
        await work()
    longest = f"the longest steps of the kernel's thread, ms: {steps.told()}"
    for name, delays in urgent.taken.items():
        p50, p99, worst = np.percentile(delays, [50, 99, 100]) * 1e3
        note = f"{len(delays)} times, p50 {p50:.1f}, worst {worst:.1f} ms; {longest}"
        yield Figure(
            f"{name} during {what}, p99",
            "ms",
            "vpngate",
            [p99],
            at_most=BOUND,
            note=note if name == "rearm" else "",
        )


class Off:
    """When the switch was last turned off for what happened to the device."""

    def __init__(self) -> None:
        self.at = threading.Event()
        self.when = 0.0
        break_off = Way.break_off

        def noted(way: Way) -> None:
            break_off(way)
            self.when = time.perf_counter()
            self.at.set()

        Way.break_off = noted  # type: ignore[assignment, method-assign]


def disarmed_after(namespace: Namespace, table: str, off: Off) -> float:
    """Delete where packets wait; seconds until nothing is sent to it any more."""
    off.at.clear()
    begin = time.perf_counter()
    namespace.run("ip", "link", "del", f"{NEAR_END}-{table}")
    off.at.wait(60)
    return off.when - begin


def measure(effort: Effort) -> Iterator[Figure | Curve]:
    sizes = (
        effort.pick(whole=1_000_000, quick=100_000, tiny=1000),
        effort.pick(whole=200_000, quick=20_000, tiny=200),
        effort.pick(whole=2000, quick=200, tiny=20),
    )
    garbage.begin()  # as the daemon does
    with tempfile.TemporaryDirectory() as name, gateway(Path(name)) as namespace:
        yield from namespace.call(lambda: asyncio.run(_attack(namespace, *sizes)))


async def _attack(
    namespace: Namespace, count: int, most: int, subscribers: int
) -> list[Figure]:
    full = ruleset(disjoint(count))
    empty = replace(full, spared=Intervals.empty())
    plane = data_plane()
    off = Off()
    await plane.start(empty)
    try:
        flows = [flow(number, subscribers, IDLE) for number in range(most)]
        await plane.throttle(flows)
        found = [one async for one in _during(plane, full, flows)]
        await plane.replace(empty)
        await plane.throttle(flows)
        found += [one async for one in _device_gone(plane, namespace, full, off)]
    finally:
        await plane.stop()
    return found


async def _during(
    plane: LiveDataPlane, full: Ruleset, flows: list[Throttle]
) -> AsyncIterator[Figure]:
    """Each long piece of work, with what is urgent beside it."""
    empty = replace(full, spared=Intervals.empty())
    covering = replace(full, spared=Intervals.of_prefixes(["10.0.0.0/14"]))
    steps, urgent = Steps(plane), Urgent(plane)
    works: list[tuple[str, Callable[[], Awaitable[Any]]]] = [
        ("idleness", lambda: asyncio.sleep(2)),
        (f"a replace by {len(full.spared):,} intervals", lambda: plane.replace(full)),
        ("a verify", plane.verify),
        ("a reading of counters", plane.counters),
        ("a replace by none", lambda: plane.replace(empty)),
        ("a registry that covers all", lambda: plane.replace(covering)),
    ]
    for what, work in works:
        async for one in meanwhile(what, work, urgent, steps):
            yield one
    await plane.replace(empty)
    for what, work in (
        ("a release of everything", lambda: plane.release(lambda _: True)),
        ("a turn to observe", lambda: plane.replace(replace(empty, enforce=False))),
    ):
        await plane.throttle(flows)
        steps.told()
        async for one in meanwhile(what, work, urgent, steps):
            yield one
    steps.leave()


async def _device_gone(
    plane: LiveDataPlane, namespace: Namespace, full: Ruleset, off: Off
) -> AsyncIterator[Figure]:
    """It is deleted by hand, whatever is under way."""
    works: tuple[tuple[str, Callable[[], Coroutine[Any, Any, Any]]], ...] = (
        ("nothing", lambda: asyncio.sleep(1)),
        ("a replace", lambda: plane.replace(full)),
        ("a release", lambda: plane.release(lambda _: True)),
    )
    for what, work in works:
        await plane.verify()
        await plane.rearm()
        task = asyncio.create_task(work())
        await asyncio.sleep(0.2)
        spent = await asyncio.to_thread(disarmed_after, namespace, full.table, off)
        yield Figure(
            f"disarmed once the {KIND} is deleted, during {what}",
            "ms",
            "vpngate",
            [spent * 1e3],
            at_most=BOUND,
            note="from the command that deletes it, which takes a part of that",
        )
        await task


ROW = Row(
    "urgent",
    "What is urgent, while there is much to do",
    measure,
    seconds=150,
    root=True,
    about=(
        "With all verdicts in the kernel a registry is replaced by one of a million "
        "intervals and back, everything is compared, and all verdicts are released. "
        "Meanwhile it is re-armed, disarmed and protected again and again."
    ),
)
