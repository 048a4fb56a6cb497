# SPDX-License-Identifier: GPL-2.0-or-later
"""How long what is urgent waits while the kernel room has its hands full.

    python -m bench.urgent [--prefixes N] [--verdicts N] [--subscribers N]

Run as root; everything happens in a network namespace of its own. With all verdicts in
the kernel, a registry is replaced by one of a million prefixes and back, everything is
compared, the ifb is deleted by hand, it is turned to observe and back, and all verdicts
are released. Meanwhile it is re-armed, disarmed and protected again and again. Of each
the median, the 99th percentile and the worst are told, and which steps held the
kernel's thread longest (in brackets the time that they had a processor).
"""

import argparse
import asyncio
import contextlib
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.kernel import disjoint, flow, gateway, ruleset
from bench.steps import Steps
from tests.lab.namespaces import Namespace
from vpngate.daemon import garbage
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.way import Way
from vpngate.prefixes.intervals import Intervals

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
) -> None:
    """Do it, and tell how long it took, and how long what was urgent took meanwhile."""
    async with urgent.going_on():
        begin = time.perf_counter()
        await work()
        spent = time.perf_counter() - begin
    print(f"{what}: {spent:.2f} s")
    for name, delays in urgent.taken.items():
        p50, p99, worst = np.percentile(delays, [50, 99, 100]) * 1e3
        print(
            f"  {name:8} {len(delays):5} times, ms: "
            f"median {p50:.1f}, p99 {p99:.1f}, worst {worst:.1f}"
        )
    print(f"  longest steps, ms: {steps.told()}", flush=True)


class Off:
    """When the switch was last turned off for what happened to the ifb."""

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
    """Delete the ifb; seconds until nothing is sent to it any more."""
    off.at.clear()
    begin = time.perf_counter()
    namespace.run("ip", "link", "del", f"ifb-{table}")
    off.at.wait(60)
    return off.when - begin


async def attack(namespace: Namespace, count: int, most: int, subscribers: int) -> None:
    full = ruleset(disjoint(count))
    empty = replace(full, spared=Intervals.empty())
    plane = LiveDataPlane()
    steps, off = Steps(plane), Off()
    await plane.start(empty)
    begin = time.perf_counter()
    await plane.throttle([flow(number, subscribers, IDLE) for number in range(most)])
    spent = time.perf_counter() - begin
    print(
        f"{most:,} verdicts of {subscribers:,} subscribers: {spent:.1f} s", flush=True
    )
    steps.told()
    urgent = Urgent(plane)
    covering = replace(full, spared=Intervals.of_prefixes(["10.0.0.0/14"]))
    works: list[tuple[str, Callable[[], Awaitable[Any]]]] = [
        ("idle", lambda: asyncio.sleep(2)),
        (f"replace by {len(full.spared):,} intervals", lambda: plane.replace(full)),
        ("verify", plane.verify),
        ("counters", plane.counters),
        ("replace by none", lambda: plane.replace(empty)),
        ("a registry that covers all of them", lambda: plane.replace(covering)),
    ]
    for what, work in works:
        await meanwhile(what, work, urgent, steps)
    await plane.replace(empty)
    flows = [flow(number, subscribers, IDLE) for number in range(most)]
    for what, work in (
        ("release of everything", lambda: plane.release(lambda _: True)),
        ("to observe", lambda: plane.replace(replace(empty, enforce=False))),
    ):
        await plane.throttle(flows)
        steps.told()
        await meanwhile(what, work, urgent, steps)
    await plane.replace(empty)
    await plane.throttle(flows)
    for what, work in (
        ("nothing", lambda: asyncio.sleep(1)),
        ("a replace", lambda: plane.replace(full)),
        ("a release", lambda: plane.release(lambda _: True)),
    ):
        await plane.verify()
        await plane.rearm()
        task = asyncio.create_task(work())
        await asyncio.sleep(0.2)
        table = empty.table
        spent = await asyncio.to_thread(disarmed_after, namespace, table, off)
        print(
            f"the ifb deleted by hand during {what}: disarmed {spent * 1e3:.0f} ms "
            "after the command was given",
            flush=True,
        )
        await task
    await plane.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prefixes", type=int, default=1_000_000)
    parser.add_argument("--verdicts", type=int, default=200_000)
    parser.add_argument("--subscribers", type=int, default=2_000)
    args = parser.parse_args()
    garbage.begin()  # as the daemon does
    with tempfile.TemporaryDirectory() as name, gateway(Path(name)) as namespace:
        namespace.call(
            lambda: asyncio.run(
                attack(namespace, args.prefixes, args.verdicts, args.subscribers)
            )
        )


if __name__ == "__main__":
    main()
