# SPDX-License-Identifier: GPL-2.0-or-later
"""What is protected, on the running kernel: from when on, and whatever else goes on."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.lab.plane import RULESET, in_gateway
from tests.netns.wire import Wire, build, datagram, mouth
from vpngate.kernel.bpf.code.stages import PROTECTED
from vpngate.kernel.bpf_steps import BpfSteps
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.wire import elements
from vpngate.packets import Endpoint, Family, Transport, format_address, parse_address
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Bounds, Intervals
from vpngate.ruleset import Ruleset, names

pytestmark = pytest.mark.netns

RULES = replace(RULESET, interfaces=("gate0",), spared=Intervals.empty())
PACKETS = 3
REMOTES = {Family.IPV4: "198.51.100.10", Family.IPV6: "2001:db8:5::10"}
SUBSCRIBERS = {Family.IPV4: "10.77.0.1", Family.IPV6: "fd77::1"}


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with build() as built:
        yield built


def flow(family: Family) -> Throttle:
    subscriber = parse_address(SUBSCRIBERS[family])
    near = Endpoint(subscriber, 1000)
    far = Endpoint(parse_address(REMOTES[family]), 2000)
    return Throttle(Transport.UDP, near, far, subscriber, 180)


def only(*addresses: bytes) -> Intervals:
    return Intervals.of_prefixes(f"{format_address(a)}/{8 * len(a)}" for a in addresses)


def many(count: int) -> Ruleset:
    """32.0.0.0/25, 32.0.1.0/25, ..., of which no two touch."""
    numbers = (np.arange(count, dtype=np.uint32) << 8) + (32 << 24)
    first = numbers.astype(">u4").view(np.uint8).reshape(-1, 4)
    last = (numbers + 127).astype(">u4").view(np.uint8).reshape(-1, 4)
    spared = Intervals.of_bounds({Family.IPV4: Bounds(first, last)})
    return replace(RULES, spared=spared)


async def impose(plane: LiveDataPlane, flows: list[Throttle]) -> None:
    """Verdicts straight into the maps: `throttle` drops some."""
    await plane._do(plane._steps.throttled.throttle, flows, time.monotonic())


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("end", ["subscriber", "remote"])
def test_the_kernel_leaves_a_protected_end_alone_whatever_the_verdict(
    wire: Wire, family: Family, end: str
) -> None:
    mine = flow(family)
    protected = only(getattr(mine, end).address)

    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(RULES, protected)
        await plane.throttle([mine])
        assert sum((await plane.counters()).throttled_flows.values()) == 0
        told = []
        with mouth(wire.host, "eth0") as host:
            for guard in (protected, Intervals.empty(), protected):
                await plane.protect(guard)
                await impose(plane, [mine])
                assert await plane.rearm()
                for number in range(PACKETS):
                    host.send(datagram(mine.subscriber, mine.remote, number))
                counted = await plane.counters()
                spared = counted.spared_packets[family.label]
                told.append((spared, counted.diverted_packets["upload"]))
        assert told == [(PACKETS, 0), (PACKETS, PACKETS), (2 * PACKETS, PACKETS)]
        assert await plane.verify() == []

    in_gateway(wire, scenario)


def is_filling(plane: LiveDataPlane) -> bool:
    """Whether a change of whom is spared is under way, before it is in force."""
    steps = plane._steps
    if isinstance(steps, BpfSteps):
        return plane._changing.locked()
    return steps.spared.newest is not steps.spared.cut


def lose_remote(plane: LiveDataPlane, mine: Throttle) -> None:
    """Have the kernel protect one end of a flow alone."""
    steps = plane._steps
    if isinstance(steps, BpfSteps):
        steps.programs.parts.few.put(PROTECTED, only(mine.subscriber.address))
        return
    table, name = steps.table, names.protected_set(Family.IPV4)
    few = only(mine.remote.address).of(Family.IPV4)
    table.commit(elements.delete_intervals(table.name, name, few))


def test_it_comes_between_the_steps_of_a_change_that_takes_nothing_of_it_back(
    wire: Wire,
) -> None:
    flows = [flow(family) for family in Family]
    protected = only(*(one.remote.address for one in flows))

    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(RULES)
        await plane.throttle(flows)
        for target in (many(150_000), RULES):
            task = asyncio.create_task(plane.replace(target))
            while not is_filling(plane):  # noqa: ASYNC110
                await asyncio.sleep(0)  # what is waited for happens in another thread
            await plane.protect(protected)
            assert not task.done()
            assert sum((await plane.counters()).throttled_flows.values()) == 0
            await task
            await plane.throttle(flows)
            assert sum((await plane.counters()).throttled_flows.values()) == 0
            assert await plane.verify() == []

    in_gateway(wire, scenario)


def test_what_got_lost_in_the_kernel_is_found_and_put_right(wire: Wire) -> None:
    mine = flow(Family.IPV4)
    protected = only(mine.remote.address, mine.subscriber.address)

    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(RULES, protected)
        assert (await plane.compare()).compared["ipv4"] == 2
        await plane._do(lose_remote, plane, mine)
        assert (await plane.compare()).differing == {"ipv4": 1, "ipv6": 0}
        assert await plane.verify() == ["spared"]
        assert await plane.verify() == []
        assert (await plane.compare()).equal

    in_gateway(wire, scenario)
