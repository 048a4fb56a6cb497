# SPDX-License-Identifier: GPL-2.0-or-later
"""What throttled subscribers cost: from ten to 20,000, then 100 new ones a second.

    python -m bench.subscribers [--subscribers N] [--flows N] [--arriving SECONDS]

Run as root; everything happens in a network namespace of its own. At each size the
time that a new subscriber's verdict takes, from being asked to being in force, and what
of it the kernel's thread was on a core (the rest is somebody else's turn); the longest
step of a verify and of a reading of all counters; memory of this process, and of the
kernel's objects, as grown since the start.
"""

import argparse
import asyncio
import re
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.kernel import gateway, ruleset
from bench.steps import Steps
from vpngate.daemon import garbage
from vpngate.kernel.live import LiveDataPlane
from vpngate.packets import Endpoint, Transport
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals

SIZES = (10, 100, 1000, 5000, 10_000, 20_000)
PROBES = 50  # new subscribers at each size


def flow(subscriber: int, number: int = 0) -> Throttle:
    address = (0x64400000 + subscriber).to_bytes(4, "big")
    remote = Endpoint((0x0A000000 + subscriber).to_bytes(4, "big"), 51820)
    end = Endpoint(address, 1024 + number)
    return Throttle(Transport.UDP, end, remote, address, 600)


def resident() -> float:
    """MiB of this process."""
    return _kilobytes(Path("/proc/self/status"), "VmRSS") / 1024


def slab() -> float:
    """MiB that the kernel has for objects, per-CPU ones and large tables."""
    path = Path("/proc/meminfo")
    return (
        sum(_kilobytes(path, key) for key in ("Slab", "Percpu", "VmallocUsed")) / 1024
    )


def _kilobytes(path: Path, key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+)", path.read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


async def newcomers(plane: LiveDataPlane, first: int, count: int) -> list[float]:
    """Seconds that each verdict took, one after the other."""
    taken = []
    for number in range(first, first + count):
        begin = time.perf_counter()
        await plane.throttle([flow(number)])
        taken.append(time.perf_counter() - begin)
    return taken


def told(taken: list[float]) -> str:
    """Median, 99th percentile and worst."""
    p50, p99, worst = np.percentile(taken, [50, 99, 100]) * 1e3
    return f"median {p50:.1f}, p99 {p99:.1f}, worst {worst:.1f} ms"


async def growth(plane: LiveDataPlane, steps: Steps, most: int, flows: int) -> int:
    """The curve; returns the first subscriber that has no verdict yet."""
    begun, kernel = resident(), slab()
    held, filled = 0, 0.0
    for size in [size for size in SIZES if size < most] + [most]:
        begin = time.perf_counter()
        for number in range(held, size):
            share = flows * (number + 1) // most - flows * number // most
            await plane.throttle([flow(number, n) for n in range(max(share, 1))])
        filled += time.perf_counter() - begin
        steps.told()
        taken = await newcomers(plane, size, PROBES)
        held = size + PROBES
        steps.told()
        begin = time.perf_counter()
        repaired = await plane.verify()
        verify = time.perf_counter() - begin
        longest = steps.told()
        begin = time.perf_counter()
        await plane.counters()
        counters = time.perf_counter() - begin
        print(
            f"{size:6,} subscribers: {told(taken)}; {filled:.1f} s to fill\n"
            f"        verify {verify:.2f} s {list(repaired)}, longest step {longest}; "
            f"counters {counters:.2f} s, longest step {steps.told()}\n"
            f"        memory grown: {resident() - begun:.0f} MiB here, "
            f"{slab() - kernel:.0f} MiB in the kernel",
            flush=True,
        )
    return held


async def arriving(
    plane: LiveDataPlane, steps: Steps, first: int, seconds: float
) -> None:
    """100 new subscribers a second, on time, whatever else goes on.

    After those that are there have been there for a while: classes are ready.
    """
    taken: list[float] = []
    begin = time.perf_counter()
    while await plane._do(plane._steps.way.make_ready):  # noqa: ASYNC110, SLF001
        await asyncio.sleep(0)
    print(f"classes ready after {time.perf_counter() - begin:.0f} s", flush=True)
    steps.told()
    begin = time.perf_counter()

    async def one(number: int, due: float) -> None:
        await plane.throttle([flow(number)])
        taken.append(time.perf_counter() - due)

    tasks = []
    for number in range(int(100 * seconds)):
        due = begin + number / 100
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(one(first + number, time.perf_counter())))
    await asyncio.gather(*tasks)
    print(
        f"100 new subscribers a second for {seconds:.0f} s: {told(taken)}, "
        f"longest step {steps.told()}"
    )


async def scenario(most: int, flows: int, seconds: float) -> None:
    plane = LiveDataPlane()
    steps = Steps(plane, most=1)
    await plane.start(ruleset(Intervals.empty()))
    try:
        await plane.rearm()
        held = await growth(plane, steps, most, flows)
        await arriving(plane, steps, held, seconds)
    finally:
        begin = time.perf_counter()
        await plane.stop()
        print(f"stop: {time.perf_counter() - begin:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subscribers", type=int, default=20_000)
    parser.add_argument("--flows", type=int, default=50_000)
    parser.add_argument("--arriving", type=float, default=60)
    args = parser.parse_args()
    garbage.begin()  # as the daemon does
    with tempfile.TemporaryDirectory() as name, gateway(Path(name)) as namespace:
        work = scenario(args.subscribers, args.flows, args.arriving)
        namespace.call(lambda: asyncio.run(work))


if __name__ == "__main__":
    main()
