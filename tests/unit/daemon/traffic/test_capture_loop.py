# SPDX-License-Identifier: GPL-2.0-or-later
"""What is captured reaches the data plane, and what is taken back is taken back."""

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from tests.unit.daemon.gatehouse import CONFIG, NOW, Gatehouse, handshake, snapshot
from vpngate.capture.live.source import Captured
from vpngate.daemon.traffic import capture_loop
from vpngate.daemon.traffic.capture_loop import CaptureLoop
from vpngate.errors import MachineFault, Problem
from vpngate.kernel.dryrun import DryRunDataPlane
from vpngate.packets import Endpoint, HookPoint, Packet, Transport, parse_address
from vpngate.policy import Throttle

NEAR = Endpoint(parse_address("100.64.1.2"), 0)
FAR = Endpoint(parse_address("100.64.2.2"), 0)
IN, OUT = HookPoint.INGRESS, HookPoint.EGRESS
PATIENCE = 5.0  # seconds


def esp(source: Endpoint, number: int, *hooks: HookPoint) -> list[Captured]:
    """A packet of ESP (RFC 4303) at these hooks; each end sends on one SPI."""
    to = FAR if source is NEAR else NEAR
    payload = b"\1" + source.address[:3] + number.to_bytes(4) + bytes(24)
    packet = Packet(Transport.ESP, source, to, payload, len(payload))
    return [Captured(packet, hook, 2, NOW) for hook in hooks]


def tunnel(first: int, near: Sequence[HookPoint]) -> list[Captured]:
    """ESP both ways, the nearer end's packets at these hooks, the other's opposite."""
    far = [hook.opposite for hook in near]
    return [
        one
        for number in range(first, first + 3)
        for one in (*esp(NEAR, number, *near), *esp(FAR, number, *far))
    ]


def ends_of(plane: DryRunDataPlane) -> set[bytes]:
    return {held.flow.subscriber.address for held in plane._verdicts}


class Copies:
    """A source that has what it is given."""

    losses: Mapping[str, int] = {}
    is_drained = False
    read = 0
    lost_before = 0
    witnesses = 0

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0)
        self.waiting: list[Captured] = []

    def fileno(self) -> int:
        return self._descriptor

    def receive(self) -> list[Captured]:
        taken, self.waiting = self.waiting, []
        return taken

    def close(self) -> None:
        os.close(self._descriptor)


class Stubborn(DryRunDataPlane):
    """Refuses the first few withdrawals, as a kernel that is short of memory does."""

    refusals = 0

    def __init__(self) -> None:
        super().__init__()
        self.relented = asyncio.Event()

    async def withdraw(self, flows: Sequence[Throttle]) -> None:
        if flows and self.refusals:
            self.refusals -= 1
            raise MachineFault(Problem("kernel", "no memory", "try again"))
        await super().withdraw(flows)
        if flows:
            self.relented.set()


def delivered(*batches: list[Captured], refusals: int = 0) -> set[bytes]:
    """Whose verdicts are in force after these captures, each delivered by itself."""

    async def scenario() -> set[bytes]:
        gatehouse = Gatehouse(snapshot(CONFIG), Stubborn())
        plane: Any = gatehouse.plane
        plane.refusals = refusals
        await gatehouse.open()
        copies = Copies()
        parts = gatehouse.pipeline, plane, gatehouse.metrics, lambda: NOW
        taking = CaptureLoop(copies, *parts)
        delivering = asyncio.create_task(taking.deliver())
        try:
            for batch in batches:
                copies.waiting = batch
                taking._drain()
                await asyncio.sleep(0.01)
            if refusals:
                await asyncio.wait_for(plane.relented.wait(), PATIENCE)
            return ends_of(plane)
        finally:
            delivering.cancel()
            copies.close()

    return asyncio.run(scenario())


BOTH = tunnel(1, (IN, OUT))
ODD = esp(NEAR, 3_000_000_000, IN)


def test_what_contradicts_itself_is_let_go() -> None:
    assert delivered(BOTH) == {NEAR.address, FAR.address}
    assert delivered(BOTH, ODD) == set()


def test_so_is_either_end_where_only_one_was_seen_again() -> None:
    """Copies were lost: the second confirmation shows one subscriber alone."""
    ends = Endpoint(FAR.address, 51820), Endpoint(NEAR.address, 40000)

    def heard(index: int, *hooks: HookPoint) -> list[Captured]:
        asked, answered = handshake(ends[0], index=index, subscriber=ends[1])
        turned = [hook.opposite for hook in hooks]
        return [
            *(asked._replace(hook=hook) for hook in hooks),
            *(answered._replace(hook=hook) for hook in turned),
        ]

    both, one = heard(7, IN, OUT), heard(8, IN)
    (asked, *_) = heard(9, IN)
    back = asked.packet._replace(source=ends[0], destination=ends[1])
    echo = [asked, asked._replace(packet=back, hook=OUT)]
    assert delivered(both, one) == {NEAR.address, FAR.address}
    assert delivered(both, one, echo) == set()
    assert delivered([*both, *one, *echo]) == set()


def test_a_withdrawal_that_the_kernel_refuses_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(capture_loop, "RETRY", 0.01)
    assert delivered(BOTH, ODD, refusals=2) == set()


def test_the_last_word_on_a_flow_counts() -> None:
    assert delivered([*BOTH, *ODD]) == set()


@contextlib.contextmanager
def taking() -> Iterator[tuple[Copies, CaptureLoop]]:
    copies = Copies()
    house = Gatehouse(snapshot(CONFIG))
    parts = house.pipeline, house.plane, house.metrics, lambda: NOW
    try:
        yield copies, CaptureLoop(copies, *parts)
    finally:
        copies.close()


def test_each_witness_is_told_once() -> None:
    told: list[None] = []
    with taking() as (copies, loop):
        loop.witnessed = lambda: told.append(None)
        for witnesses, times in ((0, 0), (1, 1), (1, 1), (4, 2)):
            copies.witnesses = witnesses
            loop._drain()
            assert len(told) == times


def test_what_was_lost_is_told_when_nothing_is_left_to_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[dict[str, int]] = []
    with taking() as (copies, loop):
        monkeypatch.setattr(loop.loss, "drained", lambda _, **each: told.append(each))
        for drained, gap, before in ((True, 3, 3), (False, 9, 3), (True, 10, 5)):
            copies.is_drained, copies.lost_before = drained, before
            copies.losses = {"gap": gap, "overrun": 2}
            copies.waiting = handshake()
            copies.read += len(copies.waiting) + 1  # one of them cannot be decoded
            loop._drain()
    assert told == [
        {"read": 3, "before": 3, "among": 0},
        {"read": 6, "before": 2, "among": 5},
    ]
