# SPDX-License-Identifier: GPL-2.0-or-later
"""How what takes time or memory grows: with prefixes, flows, verdicts and buckets.

A row of the bench.
"""

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

from bench import registry
from bench.contract import Curve, Effort, Row
from bench.handshaker import End, Plan, frames
from bench.kernel import flow, gateway, nested, ruleset
from bench.trees import OURS, filled
from tests.lab.namespaces import Namespace
from tests.lab.plane import data_plane
from vpngate.daemon import garbage
from vpngate.flows import FlowTable
from vpngate.kernel.live import LiveDataPlane
from vpngate.packets import Packet, decode
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals
from vpngate.recognition import Heard
from vpngate.registry import Registry
from vpngate.tunnels import Recogniser, all_tunnels

LINEAR = 1.1  # what counts as linear, on a machine with a slow and a fast phase
_ETHERNET = 14  # bytes
_AT_ONCE = 500  # verdicts asked for in one go
_PROBES = 30  # newcomers at each size
_IDLE = 600
_CHUNK = 10_000  # handshakes made before they are timed
_ROOT = Path(__file__).parent.parent

_Sizes = Sequence[int]


def measure(effort: Effort) -> Iterator[Curve]:
    sizes = effort.pick(
        whole=(1000, 10_000, 100_000, 1_000_000),
        quick=(1000, 10_000, 100_000),
        tiny=(100, 1000),
    )
    buckets = effort.pick(
        whole=(10, 100, 1000, 5000, 20_000), quick=(10, 100, 1000), tiny=(10, 30)
    )
    verdicts = effort.pick(
        whole=(1000, 10_000, 100_000, 300_000), quick=(1000, 10_000), tiny=(100, 1000)
    )
    yield _flows(sizes)
    with tempfile.TemporaryDirectory() as name, gateway(Path(name)) as namespace:
        yield from _registries(Path(name), sizes)
        garbage.begin()  # as the daemon does
        yield _sets(namespace, sizes)
        yield namespace.call(lambda: asyncio.run(_verdicts(verdicts)))
        yield from namespace.call(lambda: asyncio.run(_buckets(buckets)))


def _flows(sizes: _Sizes) -> Curve:
    """From packets to confirmed flows; those that were first go for want of room."""
    recogniser = Recogniser(all_tunnels())
    table = FlowTable(max(sizes), lambda *_: True)
    taken, total, done = [], 0.0, 0
    for size in sizes:
        while done < size:
            packets = _handshakes(done, min(_CHUNK, size - done))
            begin = time.perf_counter()
            for packet in packets:
                found = recogniser.recognise(packet)
                assert found is not None
                tunnel, message = found
                table.observe(Heard(packet, message), tunnel, done / 1e4)
            total += time.perf_counter() - begin
            done += len(packets) // 2
        taken.append(total)
    return Curve(
        "handshakes recognised and paired",
        "s",
        "flows",
        sizes,
        taken,
        LINEAR,
        "without the second reading, which takes the same for each",
    )


def _handshakes(first: int, count: int) -> list[Packet]:
    nobody = End("", "", "02:00:00:00:00:01", "02:00:00:00:00:02")
    plan = Plan(nobody, nobody, first, count, 1.0, 20_000)
    return [
        packet
        for pair in frames(plan)
        for frame in pair
        if (packet := decode(frame[_ETHERNET:])) is not None
    ]


def _registries(folder: Path, sizes: _Sizes) -> Iterator[Curve]:
    """Each loaded in a process of its own, then asked in this one."""
    seconds, stays, asked = [], [], []
    path = folder / "registry"
    for size in sizes:
        registry.write(path, size, "csv")
        command = [sys.executable, "-m", "bench.trees", OURS, str(path)]
        done = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True)
        found = json.loads(done.stdout)
        seconds.append(found["seconds"])
        stays.append(found["stays"])
        asked.append(_lookup(path.read_bytes()))
    over = "prefixes", sizes
    yield Curve("a registry read", "s", *over, seconds, LINEAR)
    yield Curve("a registry in memory", "MiB", *over, stays, LINEAR)
    yield Curve("an address looked up", "µs", *over, asked, LINEAR)


def _lookup(data: bytes) -> float:
    tree, ask = filled(OURS, data)
    assert isinstance(tree, Registry)
    probes = registry.probes(tree, random.Random(registry.SEED), 10_000)
    addresses = probes["hit ipv4"]
    begin = time.perf_counter()
    ask(addresses)
    return (time.perf_counter() - begin) / len(addresses) * 1e6


@asynccontextmanager
async def _plane(spared: Intervals) -> AsyncIterator[LiveDataPlane]:
    plane = data_plane()
    await plane.start(ruleset(spared))
    try:
        yield plane
    finally:
        await plane.stop()


def _sets(namespace: Namespace, sizes: _Sizes) -> Curve:
    async def one(full: Intervals) -> float:
        begin = time.perf_counter()
        async with _plane(full):
            return time.perf_counter() - begin

    found = [nested(size) for size in sizes]
    taken = [namespace.call(lambda full=full: asyncio.run(one(full))) for full in found]  # type: ignore[misc]
    counts = [len(full) for full in found]
    return Curve("a registry into the kernel", "s", "intervals", counts, taken, LINEAR)


async def _verdicts(sizes: _Sizes) -> Curve:
    """Of subscribers that have their classes already."""
    taken, total, done = [], 0.0, 0
    async with _plane(Intervals.empty()) as plane:
        await plane.throttle([_verdict(number) for number in range(100)])
        for size in sizes:
            begin = time.perf_counter()
            for first in range(done, size, _AT_ONCE):
                numbers = range(first, min(first + _AT_ONCE, size))
                await plane.throttle([_verdict(number) for number in numbers])
            total += time.perf_counter() - begin
            done = size
            taken.append(total)
    return Curve("verdicts into the kernel", "s", "verdicts", sizes, taken, LINEAR)


def _verdict(number: int) -> Throttle:
    return flow(number, 100, _IDLE)


async def _buckets(sizes: _Sizes) -> list[Curve]:
    """How long one more subscriber waits beside so many, and all of them together."""
    newcomer, totals, total, done = [], [], 0.0, 0
    async with _plane(Intervals.empty()) as plane:
        for size in sizes:
            begin = time.perf_counter()
            for number in range(done, size):
                await plane.throttle([_of_another(number)])
            total += time.perf_counter() - begin
            totals.append(total)
            waits = []
            for number in range(size, size + _PROBES):
                begin = time.perf_counter()
                await plane.throttle([_of_another(number)])
                waits.append(time.perf_counter() - begin)
            newcomer.append(median(waits) * 1e3)
            done = size + _PROBES
    over = "buckets in use", sizes
    return [
        Curve("a new subscriber's verdict", "ms", *over, newcomer, 1.0),
        Curve(
            "all of them, one after the other",
            "s",
            *over,
            totals,
            note="for each class that is made the kernel walks all there are",
        ),
    ]


def _of_another(number: int) -> Throttle:
    return flow(number, 1 << 20, _IDLE)


ROW = Row(
    "growth",
    "How it grows",
    measure,
    seconds=330,
    root=True,
    about=(
        "The slope of a line through the logarithms of size and time, or memory: 1 is "
        "linear, less is better. With small sizes what is done once weighs more, which "
        "makes slopes flatter."
    ),
)
