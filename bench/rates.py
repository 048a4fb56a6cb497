# SPDX-License-Identifier: GPL-2.0-or-later
"""What passes a class at each rate, whatever its packets look like, and what waits.

A row of the bench.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from bench import kernel
from bench.contract import Curve, Effort, Figure, Row
from tests.lab import bulk, joined, topology
from tests.lab.plane import RULESET, data_plane
from tests.lab.topology import Lab
from tests.planes import DEVICE
from vpngate.kernel.shaping.places import class_direction
from vpngate.kernel.shaping.readings import ClassReading, read_classes
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.channel import ROUTE, Channel
from vpngate.kernel.wire.links import current_links
from vpngate.packets import Direction, Endpoint, Transport, parse_address
from vpngate.policy import Throttle

RATES = (512e3, 5e6, 100e6, 1e9)
TOLERANCE, UP_TO = 0.1, 100e6  # what fewer machines can offer is held to nothing
NEAR, FAR = 40_001, 50_001
SEGMENTS = {"1,200 bytes": 1, "14 kB": 12, "60 kB": 50}
_LOOK = 0.1  # seconds
_WARMING = 1.5
_AT_ONCE = 500  # verdicts asked for in one go


class Load(NamedTuple):
    """What is sent: datagrams of so many segments, or TCP with 0."""

    name: str
    segments: int
    offloads: bool


LOADS = (
    *(Load(name, segments, segments > 1) for name, segments in SEGMENTS.items()),
    Load("TCP, offloads on", 0, offloads=True),
    Load("TCP, offloads off", 0, offloads=False),
)


def flow(lab: Lab, transport: Transport) -> Throttle:
    near, far = parse_address(lab.client.ipv4), parse_address(lab.stranger.ipv4)
    ends = Endpoint(near, NEAR), Endpoint(far, FAR)
    return Throttle(transport, *ends, near, 600)


async def measured(
    direction: Direction, seconds: float, rate: float
) -> tuple[float, float]:
    """Share of the rate that passed, and the longest queue in ms."""
    channel = Channel(ROUTE)
    index = current_links()[DEVICE].index
    root = tc.queue_at(channel, index, tc.ROOT)
    assert root is not None

    def look() -> tuple[float, ClassReading]:
        begin = time.monotonic()
        found = read_classes(channel, index, root.major)
        when = (begin + time.monotonic()) / 2
        mine = [one for n, one in found.items() if class_direction(n) is direction]
        return when, max(mine, key=lambda one: one.bytes)

    await asyncio.sleep(_WARMING)
    (first, before), waiting = look(), 0
    last, after = first, before
    while last - first < seconds:
        await asyncio.sleep(_LOOK)
        last, after = look()
        waiting = max(waiting, after.backlog)
    channel.close()
    share = (after.bytes - before.bytes) * 8 / (last - first) / rate
    return share, waiting * 8e3 / rate


@contextlib.contextmanager
def offered(lab: Lab, load: Load, direction: Direction, rate: float) -> Iterator[None]:
    """The load on its way."""
    ends = (lab.client, NEAR), (lab.stranger, FAR)
    (sender, own), (receiver, port) = (
        ends if direction is Direction.UPLOAD else ends[::-1]
    )
    if not load.segments:
        with bulk.tcp(sender, receiver, (own, port)):
            yield
        return
    queue_times = 8 * load.segments * joined.SEGMENT * 8 / 0.2
    with joined.sending(
        sender.namespace,
        (sender.ipv4, own),
        (receiver.ipv4, port),
        rate=max(3 * rate, queue_times if load.segments > 1 else 0),
        segments=load.segments,
    ):
        yield


class Work(NamedTuple):
    """What is done with one data plane.

    seconds  that each load is looked at for; `longest` where it comes in large pieces
    others   subscribers who have a class beside the one that is looked at
    """

    rate: float
    loads: Sequence[Load]
    seconds: float
    longest: float
    others: int = 0

    @property
    def told(self) -> str:
        beside = f", beside {self.others:,} subscribers" if self.others else ""
        return f"{self.rate / 1e6:g} Mbit/s{beside}"


def measure(effort: Effort) -> Iterator[Figure | Curve]:
    rates = effort.pick(whole=RATES, quick=RATES[:2], tiny=RATES[1:2])
    loads = effort.pick(whole=LOADS, quick=LOADS[::3], tiny=LOADS[:1])
    seconds = effort.pick(whole=4.0, quick=2.0, tiny=1.0)
    longest = effort.pick(whole=20.0, quick=8.0, tiny=1.0)
    others = effort.pick(whole=20_000, quick=1000, tiny=20)
    works = [Work(rate, loads, seconds, longest) for rate in rates]
    beside = loads[:1] if effort is Effort.TINY else (loads[0], *loads[-2:])
    works.append(Work(RATES[1], beside, seconds, longest, others))
    with topology.build() as lab:
        for work in works:
            yield from lab.gateway.call(lambda work=work: asyncio.run(_done(lab, work)))  # type: ignore[misc]


async def _done(lab: Lab, work: Work) -> list[Figure]:
    """All loads, both ways, at one rate."""
    found = []
    plane = data_plane()
    rules = replace(RULESET, rate=int(work.rate), deadman=3600.0, max_flows=100_000)
    await plane.start(rules)
    try:
        await plane.throttle([flow(lab, t) for t in (Transport.UDP, Transport.TCP)])
        for start in range(0, work.others, _AT_ONCE):
            some = range(start, min(start + _AT_ONCE, work.others))
            await plane.throttle([kernel.flow(one, idle=3600) for one in some])
        await plane.rearm()
        for load in work.loads:
            long = load.segments > 1 and work.rate == RATES[0]
            seconds = work.longest if long else work.seconds
            _wires(lab, load)
            for direction in Direction:
                with offered(lab, load, direction, work.rate):
                    share, waited = await measured(direction, seconds, work.rate)
                found.append(_figure(work, load, direction, share, waited))
    finally:
        await plane.stop()
    return found


def _wires(lab: Lab, load: Load) -> None:
    wires = [
        (lab.client.namespace, "eth0"),
        (lab.gateway, "lan0"),
        (lab.gateway, "wan1"),
        (lab.stranger.namespace, "eth0"),
    ]
    joined.offloads(*wires, on=load.offloads)


def _figure(
    work: Work, load: Load, direction: Direction, share: float, waited: float
) -> Figure:
    bound = work.rate <= UP_TO
    return Figure(
        f"{load.name}, {direction.value}, {work.told}",
        "Mbit/s",
        what="passed",
        ours=[share * work.rate / 1e6],
        against="the class's rate",
        theirs=[work.rate / 1e6],
        at_most=1 + TOLERANCE if bound else None,
        at_least=1 - TOLERANCE if bound else None,
        note=f"at most {waited:.0f} ms waited",
    )


ROW = Row(
    "rates",
    "What passes a class, and what waits",
    measure,
    seconds=340,
    root=True,
    about=(
        "By the bytes of the class. Datagrams of 1,200 bytes, and such joined to 14 kB "
        "and 60 kB (UDP_SEGMENT), are offered at three times the rate or at eight "
        "joined ones a queue's time, whichever is more; TCP as it likes. What a sender "
        "cannot offer does not pass: no bound is told for a rate that most machines "
        "cannot. At last the same beside the classes of many others."
    ),
)
