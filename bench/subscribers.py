# SPDX-License-Identifier: GPL-2.0-or-later
"""What throttled subscribers cost: up to 20,000, then 100 new ones a second.

A row of the bench. At each size the time that a new subscriber's verdict takes, from
being asked to being in force; of a verify and of a reading of all counters; memory of
this process, and of the kernel's objects, as grown since the start.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from bench.contract import Curve, Effort, Figure, Row
from bench.footprint import kernel_objects, maps, resident
from bench.kernel import gateway, ruleset
from bench.steps import Steps
from tests.lab.plane import data_plane
from tests.planes import PLANE
from vpngate.config import Plane
from vpngate.daemon import garbage
from vpngate.kernel.live import LiveDataPlane
from vpngate.packets import Endpoint, Transport
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals

PROBES = 50  # new subscribers
READY = 120.0  # seconds that classes may take to be ready, else it goes on without


def measure(effort: Effort) -> Iterator[Figure | Curve]:
    most = effort.pick(whole=20_000, quick=2000, tiny=20)
    flows = effort.pick(whole=50_000, quick=5000, tiny=40)
    seconds = effort.pick(whole=30.0, quick=5.0, tiny=0.5)
    garbage.begin()  # as the daemon does
    with tempfile.TemporaryDirectory() as name, gateway(Path(name)) as namespace:
        yield from namespace.call(lambda: asyncio.run(_all(most, flows, seconds)))


def flow(subscriber: int, number: int = 0) -> Throttle:
    address = (0x64400000 + subscriber).to_bytes(4, "big")
    remote = Endpoint((0x0A000000 + subscriber).to_bytes(4, "big"), 51820)
    end = Endpoint(address, 1024 + number)
    return Throttle(Transport.UDP, end, remote, address, 600)


async def _all(most: int, flows: int, seconds: float) -> list[Figure]:
    async with _plane() as plane:
        begun, objects, held = resident(), kernel_objects(), maps()
        found = await _fill(plane, most, flows)
        memory = {
            "this process": resident() - begun,
            "the kernel's objects": kernel_objects() - objects,
        }
        if PLANE is Plane.EBPF:
            memory["maps at first"] = held
            memory["maps, grown by"] = maps() - held
        for what, value in memory.items():
            name = f"{most:,} subscribers, {flows:,} flows, {what}"
            found.append(Figure(name, "MiB", "vpngate", [value]))
        found += await _looks(plane, most)
        found += await _arriving(plane, most + PROBES, seconds)
    return found


@asynccontextmanager
async def _plane() -> AsyncIterator[LiveDataPlane]:
    plane = data_plane()
    await plane.start(ruleset(Intervals.empty()))
    try:
        await plane.rearm()
        yield plane
    finally:
        await plane.stop()


async def _fill(plane: LiveDataPlane, most: int, flows: int) -> list[Figure]:
    for number in range(most):
        share = flows * (number + 1) // most - flows * number // most
        await plane.throttle([flow(number, n) for n in range(max(share, 1))])
    taken = []
    for number in range(most, most + PROBES):
        begin = time.perf_counter()
        await plane.throttle([flow(number)])
        taken.append(time.perf_counter() - begin)
    return _told(f"a new subscriber beside {most:,}", taken)


async def _looks(plane: LiveDataPlane, most: int) -> list[Figure]:
    """What is done again and again, and how long its longest step holds others up."""
    found = []
    for name, work in (("verify", plane.verify), ("counters", plane.counters)):
        steps = Steps(plane)
        begin = time.perf_counter()
        await work()
        spent = time.perf_counter() - begin
        longest = steps.longest()
        steps.leave()
        for what, value in ((name, spent), (f"{name}, its longest step", longest)):
            figure = f"{what}, {most:,} subscribers"
            found.append(Figure(figure, "ms", "vpngate", [value * 1e3]))
    return found


async def _arriving(plane: LiveDataPlane, first: int, seconds: float) -> list[Figure]:
    """100 new subscribers a second, on time, whatever else goes on.

    After those that are there have been there for a while: classes are ready.
    """
    until = time.perf_counter() + READY
    while time.perf_counter() < until:
        if not await plane._do(plane._steps.way.make_ready):  # noqa: SLF001
            break
    taken: list[float] = []

    async def one(number: int, due: float) -> None:
        await plane.throttle([flow(number)])
        taken.append(time.perf_counter() - due)

    tasks = []
    begin = time.perf_counter()
    for number in range(int(100 * seconds)):
        due = begin + number / 100
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(one(first + number, due)))
    await asyncio.gather(*tasks)
    return _told("100 new subscribers a second", taken)


def _told(name: str, taken: list[float]) -> list[Figure]:
    p50, p99 = np.percentile(taken, [50, 99]) * 1e3
    note = f"worst {max(taken) * 1e3:.1f} ms of {len(taken)}"
    return [
        Figure(f"{name}, p50", "ms", "vpngate", [p50], note=note),
        Figure(f"{name}, p99", "ms", "vpngate", [p99]),
    ]


ROW = Row(
    "subscribers",
    "Many subscribers",
    measure,
    seconds=200,
    root=True,
    about=(
        "The data plane alone, in this process: a verdict for each of so many "
        "subscribers, then new ones, from being asked to being in force. Maps of "
        "eBPF are among the kernel's objects, and told beside them."
    ),
)
