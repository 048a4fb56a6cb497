# SPDX-License-Identifier: GPL-2.0-or-later
"""What waits in shaping pairs has its rate both ways, whatever it looks like."""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.lab import bulk, diverted, joined, load, rates
from tests.lab.diverted import Pairs
from tests.lab.topology import Host, Lab
from vpngate.packets import Direction

pytestmark = pytest.mark.netns

SLOW, SHIPPED, FAST = 512_000, 5_000_000, 100_000_000
DEVICE = "vgs-vpngate"


class Load(NamedTuple):
    """A flow of a place of its own.

    segments  datagrams of 1,200 bytes that are sent joined; 0 for TCP
    whole     whether they stay joined on the wire
    """

    place: int
    near: str
    far: str
    up: bool
    segments: int
    whole: bool

    @property
    def ports(self) -> tuple[int, int]:
        return 40_000 + self.place, 50_000 + self.place


# The wires of client and stranger keep packets joined, the two others do not. TCP over
# either; joined datagrams of 60 kB; and datagrams of 1,200 bytes, which the wire makes
# of joined ones where they are many.
def loads(*, few: bool) -> list[Load]:
    kinds = [
        ("client", "stranger", 0, True),
        ("neighbour", "member", 1 if few else 10, False),
        *([("client", "stranger", 50, True)] if few else []),
    ]
    return [
        Load(2 * number + up + 1, near, far, up, segments, whole)
        for number, (near, far, segments, whole) in enumerate(kinds)
        for up in (True, False)
    ]


@contextlib.contextmanager
def offered(lab: Lab, one: Load, rate: int) -> Iterator[None]:
    """Three times what the class passes; of joined ones eight in a queue's time."""
    hosts: list[Host] = [getattr(lab, one.near), getattr(lab, one.far)]
    ends = list(zip(hosts, one.ports, strict=True))
    (sender, own), (receiver, port) = ends if one.up else ends[::-1]
    if not one.segments:
        with bulk.tcp(sender, receiver, (own, port)):
            yield
        return
    whole = 8 * one.segments * joined.SEGMENT * 8 / 0.2
    wanted = max(3 * rate, whole) if rate < FAST else 1.5 * rate
    ways = (sender.ipv4, own), (receiver.ipv4, port)
    with joined.sending(sender.namespace, *ways, rate=wanted, segments=one.segments):
        yield


@contextlib.contextmanager
def wires(lab: Lab) -> Iterator[None]:
    ends = [
        (lab.client.namespace, "eth0"),
        (lab.gateway, "lan0"),
        (lab.gateway, "wan1"),
        (lab.stranger.namespace, "eth0"),
    ]
    joined.offloads(*ends, on=True)
    try:
        yield
    finally:
        joined.offloads(*ends, on=False)


def measured(lab: Lab, made: Pairs, some: list[Load], rate: int) -> dict[Load, float]:
    """bit/s that each has while all are offered at once."""
    with contextlib.ExitStack() as stack:
        for one in some:
            made.divert(one.place, *one.ports)
            stack.enter_context(offered(lab, one, rate))
        found = rates.rates_of(lambda: load.classes(lab.gateway, DEVICE), rate)
    names = {}
    for one in some:
        way = Direction.UPLOAD if one.up else Direction.DOWNLOAD
        number = made.shaper.class_id(one.place, way)
        names[one] = f"{DEVICE} {number >> 16:x}:{number & 0xFFFF:x}"
    return {one: found.get(name, 0.0) for one, name in names.items()}


@pytest.mark.parametrize("rate", [SLOW, SHIPPED, FAST])
def test_every_kind_of_traffic_has_the_rate_both_ways(lab: Lab, rate: int) -> None:
    def scenario() -> None:
        with diverted.pairs(rate) as made:
            for device in ("lan0", "lan1"):
                made.stand_at(device)
            few = rate < FAST
            turns = [loads(few=True)] if few else [[one] for one in loads(few=False)]
            found: dict[Load, float] = {}
            for turn in turns:
                found |= measured(lab, made, turn, rate)
            assert found == {
                one: pytest.approx(rate, rel=rates.TOLERANCE) for one in found
            }
            assert made.shaper.missing() == []

    with wires(lab):
        lab.gateway.call(scenario)
