# SPDX-License-Identifier: GPL-2.0-or-later
"""Tree, kernel set and packets against a naive scan: 100,000 addresses, 200 registries.

Each registry takes the place of the one before in one running table, by a delta or,
every fifth, by fresh sets. Then each address is asked of

    the naive scan    a loop over what was written into the registry, in numbers
    the tree          `Registry.lookup`
    the kernel's set  a netlink question for one element
    the real chains   a packet that has a verdict, from or to the address, at ingress
                      and at egress: spared, or slowed by way of the ifb

      host                       gateway
        eth0 ──────── veth ─────── gate0 ◄──► ifb-vpngate
        mouth, ear                 mouth, ear     tap

A question and a packet are answered by different code in the kernel. All packets go
on their way, and each is heard once; the tap tells which went by way of the ifb.

VPNGATE_SPARED_ORACLE sets the number of registries: 200 for the whole test.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from random import Random
from typing import NamedTuple

import pytest

from tests.lab.plane import RULESET
from tests.netns.wire import Ear, Wire, build, datagram, mouth
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.table import cut
from vpngate.packets import Endpoint, Family, HookPoint, Transport
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals
from vpngate.prefixes.rows import rows_of
from vpngate.registry import Limits, Registry, load

REGISTRIES = int(os.environ.get("VPNGATE_SPARED_ORACLE", "40"))
ADDRESSES = 500  # a registry, half of each family
SWAP_EVERY = 5
PART = 5  # intervals of a part, so that few prefixes have many
SEED = 20261124

NOW = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
VALIDITY = {  # valid_from, valid_until: whether that is in force
    ("", ""): True,
    ("2026-06-01", "2026-06-02"): True,
    ("", "2026-06-01"): False,
    ("2026-06-02", ""): False,
}
RULES = replace(
    RULESET,
    interfaces=("gate0",),
    spared=Intervals.empty(),
    rate=1_000_000_000,  # the order of events is tested, not the waiting
    deadman=600.0,
    max_flows=1 << 20,
)
ETHERTYPE = {Family.IPV4: 0x0800, Family.IPV6: 0x86DD}
ETH_P_ALL = 3


class Row(NamedTuple):
    """A registration as the test knows it."""

    family: Family
    number: int
    length: int
    validity: tuple[str, str]

    @property
    def size(self) -> int:
        return 1 << (8 * self.family.width - self.length)


def naive_scan(rows: Sequence[Row], family: Family, address: int) -> bool:
    """Whether any row in force is around an address."""
    for row in rows:
        around = row.number <= address < row.number + row.size
        if around and row.family is family and VALIDITY[row.validity]:
            return True
    return False


def crowded(rng: Random, family: Family) -> Row:
    """Somewhere in one of few places, so that rows nest, touch and repeat."""
    bits = 8 * family.width
    ground = rng.choice([0, (1 << bits) - 1, 0xC6336400 << (bits - 32)])
    shift = rng.choice([0, 0, 0, 0, bits // 2, bits // 2, bits - 8])
    length = bits - shift - rng.choice([0, 0, 0, 0, 1, 1, 2, 3, 5, 8])
    if rng.random() < 0.25:
        length = bits
    if length == 0 and rng.random() < 0.7:
        length = 4  # or every second registry would have everybody
    number = ground ^ rng.getrandbits(8) << shift
    number = number >> (bits - length) << (bits - length)
    return Row(family, number, length, rng.choice([("", "")] * 5 + list(VALIDITY)))


def next_rows(rng: Random, rows: Sequence[Row]) -> list[Row]:
    """A registry that keeps much of the last one, or all, or nothing."""
    kept = rng.choice([0.0, 0.5, 0.9, 0.98, 1.0])
    count = rng.choice([1, 5, 30, 100])
    fresh = [crowded(rng, rng.choice(list(Family))) for _ in range(count)]
    stay = [row for row in rows if rng.random() < kept]
    found = (stay + fresh)[-rng.choice([20, 150, 150, 150]) :]
    return found + found[:1]  # one that is there twice


def written(rows: Sequence[Row]) -> bytes:
    lines = ["prefix,registration,tunnels,valid_from,valid_until"]
    for number, (family, first, length, (since, until)) in enumerate(rows):
        address = IPv4Address(first) if family is Family.IPV4 else IPv6Address(first)
        lines.append(f"{address}/{length},R-{number},,{since},{until}")
    return "\n".join(lines).encode()


def asked(rng: Random, rows: Sequence[Row], family: Family) -> list[int]:
    """Ends of what is registered, one off to either side, inside, near and anywhere."""
    bits = 8 * family.width
    top = (1 << bits) - 1
    edges = [0, 1, top - 1, top]
    for row in (row for row in rows if row.family is family):
        edges += [row.number + at for at in (-1, 0, row.size - 1, row.size)]
        edges.append(row.number + rng.randrange(row.size))
    edges = sorted({edge for edge in edges if 0 <= edge <= top})
    count = ADDRESSES // 2
    chosen = rng.sample(edges, min(len(edges), count * 4 // 5))
    while len(chosen) < count:
        near = crowded(rng, family)
        chosen += [near.number + rng.randrange(near.size), rng.getrandbits(bits)]
    return chosen[:count]


@dataclass(frozen=True)
class Question:
    """One address, and the verdict on a flow between it and nobody in particular."""

    family: Family
    address: int
    registered: bool
    spared: bool  # whether the flow is: the other end may be registered, too
    flow: Throttle

    @classmethod
    def of(
        cls, number: int, rows: Sequence[Row], address: int, family: Family, other: int
    ) -> "Question":
        # In turn the subscriber's end and the remote one: either rule is asked.
        ends = (address, other) if number % 2 else (other, address)
        near, far = (end.to_bytes(family.width, "big") for end in ends)
        one, two = (naive_scan(rows, family, end) for end in (address, other))
        flow = Throttle(
            Transport.UDP,
            Endpoint(near, 1024 + number),
            Endpoint(far, 51820),
            bytes(family.width),  # one bucket for all
            180,
        )
        return cls(family, address, one, one or two, flow)

    def __str__(self) -> str:
        return f"{self.flow.subscriber} to {self.flow.remote}"


def questions(rng: Random, rows: Sequence[Row]) -> Iterator[Question]:
    number = 0
    for family in Family:
        others = [rng.getrandbits(8 * family.width) for _ in range(50)]
        # Where there is nobody else, all is registered.
        free = [each for each in others if not naive_scan(rows, family, each)]
        other = (free or others)[0]
        for address in asked(rng, rows, family):
            yield Question.of(number, rows, address, family, other)
            number += 1


@dataclass(frozen=True)
class Road:
    """One way through the gateway, of one family."""

    point: HookPoint
    family: Family
    mouth: socket.socket
    ear: Ear

    def pass_through(self, tap: Ear, batch: Sequence[Question]) -> list[bool]:
        """Send a packet of each flow; for each, whether it went round the ifb."""
        tap.heard()
        for number, question in enumerate(batch):
            ends = (question.flow.subscriber, question.flow.remote)
            if self.point is HookPoint.EGRESS:
                ends = ends[::-1]
            self.mouth.send(datagram(*ends, number))
        arrived = self.ear.hear(len(batch))
        assert sorted(arrived) == list(range(len(batch))), "lost, or came twice"
        slowed = tap.heard()  # what arrived has been there before
        assert len(set(slowed)) == len(slowed)
        return [number in set(slowed) for number in range(len(batch))]


class Gate:
    """The table on the running kernel, and what is heard around it."""

    def __init__(self, plane: LiveDataPlane, tap: Ear, roads: Sequence[Road]) -> None:
        self.plane = plane
        self.tap = tap
        self.roads = roads

    @property
    def generation(self) -> int:
        return self.plane._steps.spared.asked

    async def in_set(self, batch: Sequence[Question]) -> list[bool]:
        """The kernel's own answers about its set."""
        steps, found = self.plane._steps, []
        for family in Family:
            width = family.width
            mine = [q.address for q in batch if q.family is family]
            packed = b"".join(number.to_bytes(width, "big") for number in mine)
            addresses = rows_of(packed, family)
            sets = steps.spared._sets_of(family, addresses)
            held = await self.plane._do(steps.table.holds, sets, addresses)
            found += held.tolist()
        return found

    async def impose(self, batch: Sequence[Question]) -> None:
        """Verdicts straight into the maps, whoever they hit: `throttle` drops some."""
        throttled = self.plane._steps.throttled
        flows = [question.flow for question in batch]
        await self.plane._do(throttled.throttle, flows, time.monotonic())
        await self.plane.rearm()

    async def slowed(self, batch: Sequence[Question]) -> dict[HookPoint, list[bool]]:
        """For each question, at either hook, whether its packet went round the ifb."""
        found: dict[HookPoint, list[bool]] = {point: [] for point in HookPoint}
        for road in self.roads:
            mine = [q for q in batch if q.family is road.family]
            found[road.point] += road.pass_through(self.tap, mine)
        return found

    async def counted(self) -> tuple[int, int]:
        """Packets spared and slowed so far, as the daemon counts them."""
        now = await self.plane.counters()
        return sum(now.spared_packets.values()), sum(now.throttled_packets.values())


async def ask_everyone(
    gate: Gate, registry: Registry, batch: Sequence[Question]
) -> list[str]:
    """What the answers differ in, one line each."""
    wrong = []
    before = await gate.counted()
    await gate.impose(batch)
    held = await gate.in_set(batch)
    slowed = await gate.slowed(batch)
    after = await gate.counted()
    for number, question in enumerate(batch):
        packed = question.address.to_bytes(question.family.width, "big")
        here = registry.lookup(packed, NOW) is not None
        if not (question.registered == here == held[number]):
            wrong.append(
                f"{question}: scan {question.registered}, tree {here}, "
                f"set {held[number]}"
            )
        wrong += [
            f"{question} at {point.name}: scan {question.spared}, packet {not found}"
            for point in HookPoint
            if (found := slowed[point][number]) == question.spared
        ]
    spared = sum(question.spared for question in batch) * len(HookPoint)
    rest = len(batch) * len(HookPoint) - spared
    growth = tuple(b - a for a, b in zip(before, after, strict=True))
    if growth != (spared, rest):
        wrong.append(f"counted {growth}, expected {(spared, rest)}")
    await gate.plane.release(lambda _: True)
    return wrong


async def registries(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> str:
    """One after the other; returns what was asked, for the reader."""
    rng = Random(SEED)
    rows: list[Row] = []
    told = dict.fromkeys(("addresses", "registered", "deltas", "swaps"), 0)
    for turn in range(REGISTRIES):
        where = f"seed {SEED}, registry {turn}"
        rows = next_rows(rng, rows)
        loaded = load(written(rows), limits=Limits(), now=NOW)
        assert not loaded.problems, where
        covered = loaded.registry.covered(NOW)
        changes = covered != gate.plane._steps.ruleset.spared
        swap = turn % SWAP_EVERY == SWAP_EVERY - 1 and changes
        generation = gate.generation
        forced, swap = (
            swap,
            swap
            or gate.plane._steps.spared.outgrows(
                covered, gate.plane._steps.spared.held.delta(covered)
            ),
        )
        with monkeypatch.context() as patched:
            patched.setattr(cut, "SHARE", PART)
            if forced:
                patched.setattr("vpngate.plan.LARGEST_DELTA", 0)
            await gate.plane.replace(replace(RULES, spared=covered))
        batch = list(questions(rng, rows))
        wrong = await ask_everyone(gate, loaded.registry, batch)
        assert not wrong, "\n".join([where, *wrong[:20]])
        # Or else the sets were found wrong, and mended, before anyone asked.
        assert gate.generation == generation + swap, f"{where}: mended"
        told["addresses"] += len(batch)
        told["registered"] += sum(question.registered for question in batch)
        told["swaps" if swap else "deltas"] += changes
    return ", ".join(f"{count:,} {what}" for what, count in told.items())


@contextlib.contextmanager
def gate_on(wire: Wire, plane: LiveDataPlane) -> Iterator[Gate]:
    """What speaks and listens on the wire. The ifb has to be there."""
    with contextlib.ExitStack() as undo:
        host = undo.enter_context(mouth(wire.host, "eth0"))
        gateway = undo.enter_context(mouth(wire.gateway, "gate0"))
        tap = undo.enter_context(Ear(wire.gateway, "ifb-vpngate", ETH_P_ALL))
        roads = []
        for family, ethertype in ETHERTYPE.items():
            # Of one protocol: it hears what has passed the hooks, not what comes in.
            near = undo.enter_context(Ear(wire.gateway, "gate0", ethertype))
            far = undo.enter_context(Ear(wire.host, "eth0", ethertype))
            roads.append(Road(HookPoint.INGRESS, family, host, near))
            roads.append(Road(HookPoint.EGRESS, family, gateway, far))
        yield Gate(plane, tap, roads)


def test_everyone_answers_like_a_naive_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(wire: Wire) -> str:
        plane = LiveDataPlane()
        try:
            await plane.start(RULES)
            with gate_on(wire, plane) as gate:
                return await registries(gate, monkeypatch)
        finally:
            await plane.stop()

    with build() as wire:
        told = wire.gateway.call(lambda: asyncio.run(scenario(wire)))
    print(f"seed {SEED}: {told}")  # noqa: T201 - for the reader of a long run
