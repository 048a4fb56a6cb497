# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel room costs: a registry into the sets, deltas, verdicts, lookups.

Run as root: `.venv/bin/python -m bench.kernel [PREFIXES]`. Everything happens in a
network namespace of its own. Each figure is measured on the running kernel; `nft -f`
loads the same set in turn for comparison.
"""

import asyncio
import ipaddress
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.lab.namespaces import Namespace
from vpngate.kernel.live import LiveDataPlane
from vpngate.packets import Endpoint, Family, Transport
from vpngate.policy import Throttle
from vpngate.registry.intervals import Bounds, Intervals
from vpngate.ruleset import Ruleset
from vpngate.tunnels import all_tunnels

SEED = 20260101
DEVICE = "lan0"


def intervals(count: int, share_ipv6: float = 0.2) -> Intervals:
    """`count` disjoint intervals that do not touch: /28 and /64 with gaps."""
    random = np.random.default_rng(SEED)
    six = int(count * share_ipv6)
    four = count - six
    first = np.sort(random.choice(0x0C000000 >> 1, four, replace=False) * 2 + (1 << 27))
    start = (first.astype(np.uint64) << 4).astype(">u4").view(np.uint8).reshape(-1, 4)
    end = start.copy()
    end[:, 3] |= 15
    upper = np.sort(random.choice(1 << 27, six, replace=False)).astype(np.uint64) * 2
    high = (upper + (0x2400 << 48)).astype(">u8").view(np.uint8).reshape(-1, 8)
    low = np.zeros_like(high)
    return Intervals.of_bounds(
        {
            Family.IPV4: Bounds(start, end),
            Family.IPV6: Bounds(np.hstack([high, low]), np.hstack([high, ~low])),
        }
    )


def ruleset(spared: Intervals) -> Ruleset:
    signatures = tuple(s for tunnel in all_tunnels() for s in tunnel.signatures)
    return Ruleset(
        table="vpngate",
        interfaces=(DEVICE,),
        subscriber_side=True,
        hook_priority=500,
        mark=0x40000000,
        enforce=True,
        deadman=30.0,
        rate=5_000_000,
        max_flows=1_000_000,
        signatures=signatures,
        nflog_group=5170,
        packets_per_second=20_000,
        spared=spared,
    )


def flow(number: int) -> Throttle:
    subscriber = (0x64400000 + number % 20_000).to_bytes(4, "big")
    remote = Endpoint((0x0A000000 + number).to_bytes(4, "big"), 51820)
    end = Endpoint(subscriber, 1024 + number % 60_000)
    return Throttle(Transport.UDP, end, remote, subscriber, 180)


class Beat:
    """Re-arms and hands over a verdict again and again; keeps the worst delays."""

    def __init__(self, plane: LiveDataPlane) -> None:
        self._plane = plane
        self.rearm: list[float] = []
        self.throttle: list[float] = []

    async def run(self) -> None:
        number = 500_000
        while True:
            for delays, work in (
                (self.rearm, self._plane.rearm()),
                (self.throttle, self._plane.throttle([flow(number)])),
            ):
                begin = time.perf_counter()
                await work
                delays.append(time.perf_counter() - begin)
            number += 1
            await asyncio.sleep(0.02)


async def load(count: int) -> None:
    full = intervals(count)
    plane = LiveDataPlane()
    begin = time.perf_counter()
    await plane.start(ruleset(full))
    print(f"start with {len(full):,} intervals: {time.perf_counter() - begin:.2f} s")
    await plane.stop()

    await plane.start(ruleset(Intervals.empty()))
    beat = Beat(plane)
    task = asyncio.create_task(beat.run())
    begin = time.perf_counter()
    await plane.replace(ruleset(full))
    print(f"replace nothing by it, live: {time.perf_counter() - begin:.2f} s")
    task.cancel()
    for name, delays in (("re-arm", beat.rearm), ("verdict", beat.throttle)):
        print(f"  {name} meanwhile: {len(delays)} times, worst {max(delays):.3f} s")
    await deltas(plane, full)
    begin = time.perf_counter()
    print(f"verify: {await plane.verify()} in {time.perf_counter() - begin:.2f} s")
    await plane.stop()


async def deltas(plane: LiveDataPlane, full: Intervals) -> None:
    """Again and again 500 intervals out and the 500 taken out before back in."""
    random = np.random.default_rng(SEED)
    held, times = full, []
    for _ in range(9):
        keep = np.ones(len(full.first4), dtype=np.bool_)
        keep[random.choice(len(keep), min(500, len(keep) // 4), replace=False)] = False
        target = replace(full, first4=full.first4[keep], last4=full.last4[keep])
        begin = time.perf_counter()
        await plane.replace(ruleset(target))
        times.append(time.perf_counter() - begin)
        held = target
    print(
        f"delta of 500 and 500 in {len(held):,}: "
        f"median {statistics.median(times):.3f} s, worst {max(times):.3f} s"
    )


async def verdicts() -> None:
    plane = LiveDataPlane()
    await plane.start(ruleset(Intervals.empty()))
    for count in (1, 1_000, 20_000):
        flows = [flow(number) for number in range(count)]
        begin = time.perf_counter()
        await plane.throttle(flows)
        spent = time.perf_counter() - begin
        print(f"{count:,} verdicts: {spent:.4f} s, {spent / count * 1e6:.0f} µs each")
    begin = time.perf_counter()
    await plane.counters()
    print(f"counters with 40,000 classes: {time.perf_counter() - begin:.3f} s")
    begin = time.perf_counter()
    ended = await plane.release(lambda _: True)
    print(f"release of {ended:,}: {time.perf_counter() - begin:.3f} s")
    times = []
    for _ in range(200):
        begin = time.perf_counter()
        await plane.rearm()
        times.append(time.perf_counter() - begin)
    print(f"re-arm: median {statistics.median(times) * 1e6:.0f} µs")
    begin = time.perf_counter()
    await plane.stop()
    print(f"stop: {time.perf_counter() - begin:.2f} s")


def nft(namespace: Namespace, count: int, folder: Path) -> None:
    full = intervals(count)
    parts = []
    for family, kind in ((Family.IPV4, "ipv4_addr"), (Family.IPV6, "ipv6_addr")):
        first, last = full.of(family)
        elements = ",".join(
            f"{ipaddress.ip_address(f.tobytes())}-{ipaddress.ip_address(e.tobytes())}"
            for f, e in zip(first, last, strict=True)
        )
        parts.append(
            f"set spared{family} {{ type {kind}; flags interval; "
            f"elements = {{ {elements} }} }}"
        )
    path = folder / "set.nft"
    path.write_text("table netdev compared {\n" + "\n".join(parts) + "\n}\n")
    begin = time.perf_counter()
    namespace.run("nft", "-f", str(path), timeout=600)
    print(f"nft -f of the same set: {time.perf_counter() - begin:.2f} s")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        namespace = Namespace("bench", folder)
        namespace.ip(
            f"link add {DEVICE} type veth peer name far",
            f"link set {DEVICE} up",
            "link set far up",
        )
        namespace.call(lambda: asyncio.run(verdicts()))
        namespace.call(lambda: asyncio.run(load(count)))
        nft(namespace, count, folder)
        namespace.close()


if __name__ == "__main__":
    main()
