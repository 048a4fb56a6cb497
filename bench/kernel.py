# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel room costs: a registry into the sets, deltas, verdicts, lookups.

    python -m bench.kernel [--prefixes N] [--rounds N] [--verdicts N]

Run as root; everything happens in a network namespace of its own. The registry is the
one of `bench.registry`: its prefixes, both families and nested, merged as the kernel
needs them. `nft -f` loads the same intervals, in turn with vpngate; the figures are
medians of the rounds.
"""

import argparse
import asyncio
import contextlib
import ipaddress
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.registry import SEED, prefixes
from tests.lab.namespaces import Namespace
from tests.rulesets import RULESET
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.wire.channel import Change, Channel
from vpngate.packets import Endpoint, Family, Transport
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Bounds, Intervals
from vpngate.prefixes.prefix import host_masks
from vpngate.ruleset import Ruleset

DEVICE = "lan0"
BEAT = 0.02  # seconds between two re-armings


def nested(count: int) -> Intervals:
    """A registry's prefixes, merged."""
    return Intervals.of_prefixes(prefixes(count))


def disjoint(count: int) -> Intervals:
    """Prefixes of which no two even touch: as many intervals as there can be."""
    random = np.random.default_rng(SEED)
    six = count // 5
    four = random.choice(0x0C000000 >> 1, count - six, replace=False) * 2 + (1 << 27)
    start = (four.astype(np.uint64) << 4).astype(">u4").view(np.uint8).reshape(-1, 4)
    upper = random.choice(1 << 27, six, replace=False).astype(np.uint64) * 2
    high = (upper + (0x2400 << 48)).astype(">u8").view(np.uint8).reshape(-1, 8)
    low = np.zeros_like(high)
    return Intervals.of_bounds(
        {
            Family.IPV4: Bounds(start, start | host_masks(Family.IPV4)[28]),
            Family.IPV6: Bounds(np.hstack([high, low]), np.hstack([high, ~low])),
        }
    )


def ruleset(spared: Intervals) -> Ruleset:
    return replace(RULESET, interfaces=(DEVICE,), max_flows=1_000_000, spared=spared)


def flow(number: int, subscribers: int = 20_000, idle: int = 180) -> Throttle:
    subscriber = (0x64400000 + number % subscribers).to_bytes(4, "big")
    remote = Endpoint((0x0A000000 + number).to_bytes(4, "big"), 51820)
    end = Endpoint(subscriber, 1024 + number % 60_000)
    return Throttle(Transport.UDP, end, remote, subscriber, idle)


class Beat:
    """Re-arms and hands over a verdict again and again; keeps how long each took."""

    def __init__(self, plane: LiveDataPlane) -> None:
        self._plane = plane
        self.rearm: list[float] = []
        self.verdict: list[float] = []

    async def _run(self) -> None:
        number = 500_000
        while True:
            begin = time.perf_counter()
            await self._plane.rearm()
            armed = time.perf_counter()
            await self._plane.throttle([flow(number)])
            self.rearm.append(armed - begin)
            self.verdict.append(time.perf_counter() - armed)
            number += 1
            await asyncio.sleep(BEAT)

    @contextlib.asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Meanwhile."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@contextlib.contextmanager
def transactions() -> Iterator[list[tuple[float, float]]]:
    """How long each transaction takes meanwhile: seconds by the clock, and of CPU."""
    taken: list[tuple[float, float]] = []
    commit = Channel.commit

    def timed(channel: Channel, changes: Sequence[Change]) -> None:
        begin, cpu = time.perf_counter(), time.thread_time()
        commit(channel, changes)
        taken.append((time.perf_counter() - begin, time.thread_time() - cpu))

    Channel.commit = timed  # type: ignore[assignment, method-assign]
    try:
        yield taken
    finally:
        Channel.commit = commit  # type: ignore[method-assign]


def worst(taken: Sequence[tuple[float, float]]) -> str:
    wall, cpu = (max(each) * 1e3 for each in zip(*taken, strict=True))
    return f"{len(taken)} transactions, worst {wall:.0f} ms, {cpu:.0f} ms of CPU"


def nft_file(full: Intervals, path: Path) -> None:
    """The same sets as a file for `nft -f`."""
    parts = []
    for family, kind in ((Family.IPV4, "ipv4_addr"), (Family.IPV6, "ipv6_addr")):
        first, last = full.of(family)
        elements = ",".join(
            f"{ipaddress.ip_address(f.tobytes())}-{ipaddress.ip_address(e.tobytes())}"
            for f, e in zip(first, last, strict=True)
        )
        parts.append(
            f"set spared_{family.label} {{ type {kind}; flags interval; "
            f"elements = {{ {elements} }} }}"
        )
    path.write_text("table netdev compared {\n" + "\n".join(parts) + "\n}\n")


def loads(namespace: Namespace, full: Intervals, rounds: int, folder: Path) -> None:
    """`nft -f`, a start, and a change of a running daemon's, in turn."""
    file = folder / "set.nft"
    nft_file(full, file)
    taken: dict[str, list[float]] = {"nft -f": [], "start": [], "replace": []}
    beats, held = [], []
    for _ in range(rounds):
        begin = time.perf_counter()
        namespace.run("nft", "-f", str(file), timeout=600)
        taken["nft -f"].append(time.perf_counter() - begin)
        namespace.run("nft", "delete", "table", "netdev", "compared", timeout=600)
        taken["start"].append(namespace.call(lambda: asyncio.run(start(full))))
        with transactions() as noted:
            seconds, beat = namespace.call(lambda: asyncio.run(change(full)))
        held += noted
        taken["replace"].append(seconds)
        beats.append(beat)
    theirs = statistics.median(taken["nft -f"])
    for name, each in taken.items():
        median = statistics.median(each)
        print(
            f"{name:8} median {median:.2f} s "
            f"({min(each):.2f} to {max(each):.2f}), {median / theirs:.0%} of nft's"
        )
    print(f"  replace: {worst(held)}")
    for name in ("rearm", "verdict"):
        delays = [delay for beat in beats for delay in getattr(beat, name)]
        print(f"  {name} meanwhile: {len(delays)} times, worst {max(delays):.3f} s")


async def start(full: Intervals) -> float:
    plane = LiveDataPlane()
    begin = time.perf_counter()
    await plane.start(ruleset(full))
    spent = time.perf_counter() - begin
    await plane.stop()
    return spent


async def change(full: Intervals) -> tuple[float, Beat]:
    """From nothing to all of it while re-arming and verdicts go on."""
    plane = LiveDataPlane()
    await plane.start(ruleset(Intervals.empty()))
    beat = Beat(plane)
    async with beat.going_on():
        begin = time.perf_counter()
        await plane.replace(ruleset(full))
        spent = time.perf_counter() - begin
    await plane.stop()
    return spent, beat


async def deltas(full: Intervals) -> None:
    """Again and again 500 intervals out and the 500 taken out before back in."""
    plane = LiveDataPlane()
    await plane.start(ruleset(full))
    random = np.random.default_rng(SEED)
    times = []
    for _ in range(21):
        keep = np.ones(len(full.first4), dtype=np.bool_)
        keep[random.choice(len(keep), min(500, len(keep) // 4), replace=False)] = False
        target = replace(full, first4=full.first4[keep], last4=full.last4[keep])
        begin = time.perf_counter()
        await plane.replace(ruleset(target))
        times.append(time.perf_counter() - begin)
    times.pop(0)  # nothing had been taken out before
    print(
        f"500 intervals out, 500 in, and read back: "
        f"median {statistics.median(times):.3f} s "
        f"({min(times):.3f} to {max(times):.3f})"
    )
    one = Intervals.of_prefixes(["192.0.2.0/24"])
    await plane.replace(ruleset(full))
    times = []
    for _ in range(10):
        for target in (full.union(one), full):
            with transactions() as taken:
                await plane.replace(ruleset(target))
            times += [wall for wall, _ in taken]
    print(
        f"one prefix more, and less: a transaction takes "
        f"{statistics.median(times) * 1e3:.1f} ms (at most {max(times) * 1e3:.1f})"
    )
    for name, work in (("verify", plane.verify), ("full comparison", plane.compare)):
        begin = time.perf_counter()
        found = await work()
        print(f"{name}: {time.perf_counter() - begin:.2f} s, {found}")
    await plane.stop()


async def verdicts(most: int) -> None:
    plane = LiveDataPlane()
    await plane.start(ruleset(Intervals.empty()))
    for count in (1, most // 20, most):
        flows = [flow(number) for number in range(count)]
        begin = time.perf_counter()
        await plane.throttle(flows)
        spent = time.perf_counter() - begin
        print(f"{count:,} verdicts: {spent:.4f} s, {spent / count * 1e6:.0f} µs each")
    for name, work in (
        ("counters", plane.counters),
        ("release", lambda: plane.release(lambda _: True)),
    ):
        begin = time.perf_counter()
        await work()
        print(f"{name} of {most:,}: {time.perf_counter() - begin:.3f} s")
    times = []
    for _ in range(200):
        begin = time.perf_counter()
        await plane.rearm()
        times.append(time.perf_counter() - begin)
    print(f"re-arm: median {statistics.median(times) * 1e6:.0f} µs")
    begin = time.perf_counter()
    await plane.stop()
    print(f"stop: {time.perf_counter() - begin:.2f} s")


@contextlib.contextmanager
def gateway(folder: Path) -> Iterator[Namespace]:
    namespace = Namespace("bench", folder)
    try:
        namespace.ip(
            f"link add {DEVICE} type veth peer name far",
            f"link set {DEVICE} up",
            "link set far up",
        )
        yield namespace
    finally:
        namespace.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prefixes", type=int, default=1_000_000)
    parser.add_argument(
        "--disjoint", action="store_true", help="prefixes that do not even touch"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--verdicts", type=int, default=2000)
    args = parser.parse_args()
    kind = disjoint if args.disjoint else nested
    full = kind(args.prefixes)
    print(f"{args.prefixes:,} prefixes, {len(full):,} intervals")
    with tempfile.TemporaryDirectory() as name, gateway(Path(name)) as namespace:
        namespace.call(lambda: asyncio.run(verdicts(args.verdicts)))
        loads(namespace, full, args.rounds, Path(name))
        namespace.call(lambda: asyncio.run(deltas(full)))


if __name__ == "__main__":
    main()
