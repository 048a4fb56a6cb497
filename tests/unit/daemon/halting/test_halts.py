# SPDX-License-Identifier: GPL-2.0-or-later
"""What is looked at every second, and that it leads to one halt and no more."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.unit.daemon.gatehouse import (
    CONFIG,
    MEMBER,
    STRANGER,
    SUBSCRIBER,
    Gatehouse,
    config_read,
    fetched,
    snapshot,
)
from vpngate.bounds import CaptureLoss
from vpngate.daemon.halting.halts import Halts
from vpngate.daemon.traffic.capture_loop import CaptureLoop
from vpngate.kernel.dryrun import DryRunDataPlane
from vpngate.kernel.plane import Glance
from vpngate.stance import Enforce, Halt, HaltReason

Step = Callable[["Watched"], object]
MANY = 10**9


class Seen(DryRunDataPlane):
    """Shows what the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = Glance(0.0, 0.0, 0, 0, 0, 0, [], 0, 0)

    async def glance(self) -> Glance:
        self.seen = replace(self.seen, at=time.monotonic())
        return self.seen

    def show(self, **counts: Any) -> None:
        self.seen = replace(self.seen, **counts)


class Watched:
    """A gatehouse, the watch over it, and what it halted for."""

    def __init__(self, text: str = CONFIG) -> None:
        self.plane = Seen()
        self.house = Gatehouse(snapshot(text), self.plane)
        self.capture = SimpleNamespace(loss=CaptureLoss(), witnessed=None)
        self.reasons: list[HaltReason] = []
        self.details: list[str] = []
        self.halted = asyncio.Event()
        self.halts = Halts(
            self.house.current,
            self.plane,
            self.house.kernel,
            cast("CaptureLoop", self.capture),
            self.house.metrics,
            self._halt,
        )

    async def _halt(self, halt: Halt) -> None:
        self.reasons.append(halt.reason)
        self.details.append(halt.detail)
        self.halted.set()
        await self.house.applier.take_at_once(halt)

    async def enforce(self) -> None:
        """A person acts."""
        await self.house.applier.take(Enforce(by="a test"))

    def counted(self) -> float:
        name = "vpngate_halts_total"
        return sum(
            self.house.metrics.registry.get_sample_value(name, {"reason": reason}) or 0
            for reason in HaltReason
        )


def watched(*steps: Step, text: str = CONFIG) -> Watched:
    """Look before the first step and after each."""

    async def scenario() -> Watched:
        one = Watched(text)
        await one.house.open()
        settles(one)
        await one.halts._look()
        for step in steps:
            if asyncio.iscoroutine(outcome := step(one)):
                await outcome
            await one.halts._look()
            await asyncio.sleep(0.02)
        return one

    return asyncio.run(scenario())


def settles(one: Watched) -> None:
    """The last change of whom is spared was some time ago."""
    one.house.kernel._told -= 10.0


def shows(**counts: Any) -> Step:
    return lambda one: one.plane.show(**counts)


def waits(*addresses: bytes) -> Step:
    return shows(waiting=[(SUBSCRIBER.address, one) for one in addresses])


@pytest.mark.parametrize(
    ("reason", "steps"),
    [
        (HaltReason.WITNESS, [shows(witness_packets=1)]),
        (HaltReason.SPARED_PACKETS, [shows(spared_packets=100)]),
        (HaltReason.DISAGREEMENTS, [shows(differed=2, disagreements=2)]),
        (
            HaltReason.THROTTLED_SHARE,
            [shows(throttled_bytes=MANY, traffic_bytes=2 * MANY)],
        ),
        (HaltReason.WITNESS, [waits(STRANGER.address, MEMBER.address)]),
        (HaltReason.WITNESS, [lambda one: one.halts.witnessed()]),
    ],
)
def test_each_reason_halts_once(reason: HaltReason, steps: list[Step]) -> None:
    one = watched(*steps, lambda _: None, lambda _: None)
    assert one.reasons == [reason]
    assert one.counted() == 1
    assert one.details[0]


def loses(read: int, lost: int, seconds: float) -> Step:
    def step(one: Watched) -> None:
        now, drained = time.monotonic(), one.capture.loss.drained
        drained(now - seconds - 1, read=1, before=0, among=0)
        drained(now - 1, read=read, before=0, among=0)
        drained(now, read=1, before=lost, among=0)

    return step


def test_lost_copies_halt() -> None:
    assert watched(loses(18_000, 22_000, 27.0)).reasons == [HaltReason.CAPTURE_LOSS]
    assert watched(loses(18_000, 22_000, 2.0)).reasons == []


@pytest.mark.parametrize(
    "steps",
    [
        [shows(spared_packets=99)],
        [shows(differed=1, disagreements=1)],
        [shows(throttled_bytes=MANY // 10, traffic_bytes=MANY)],
        [waits(STRANGER.address)],
    ],
)
def test_what_is_within_the_bounds_halts_nothing(steps: list[Step]) -> None:
    assert watched(*steps, lambda _: None).reasons == []


def test_a_bound_may_be_another_and_the_share_off() -> None:
    text = CONFIG + '[halt]\nspared_packets = 7\nthrottled_share = "off"\n'
    assert watched(shows(spared_packets=7), text=text).reasons
    share = shows(throttled_bytes=MANY, traffic_bytes=MANY)
    assert not watched(share, text=text).reasons


def test_observing_nothing_is_looked_at() -> None:
    def witness(one: Watched) -> None:
        one.plane.show(
            witness_packets=1, spared_packets=MANY, differed=9, disagreements=9
        )
        one.halts.witnessed()

    text = CONFIG.replace("enforce", "observe")
    assert watched(witness, text=text).reasons == []


def test_what_led_to_a_halt_leads_to_no_other() -> None:
    """A person has acted: what was counted before counts no more."""
    every = shows(
        witness_packets=1,
        spared_packets=MANY,
        differed=2,
        disagreements=2,
        throttled_bytes=MANY,
        traffic_bytes=MANY,
    )
    one = watched(every, lambda _: None, Watched.enforce, lambda _: None)
    assert len(one.reasons) == 1
    again = watched(every, Watched.enforce, shows(differed=3, disagreements=3))
    assert len(again.reasons) == 2


def test_as_many_disagreements_as_before_a_person_acted_halt_again() -> None:
    """The kernel may have agreed in between, and nobody looked at that moment."""
    before, after = (shows(differed=n, disagreements=2) for n in (2, 4))
    assert len(watched(before, Watched.enforce, after).reasons) == 2
    stays = watched(before, Watched.enforce, lambda _: None)
    assert len(stays.reasons) == 1


def test_what_is_counted_right_after_it_begins_to_enforce_counts() -> None:
    """It is not a part of what was before the first look, which comes at once."""

    async def scenario() -> Watched:
        one = Watched(CONFIG.replace("enforce", "observe"))
        await one.house.open()
        watching = asyncio.create_task(one.halts.watch())
        await asyncio.sleep(0)
        await one.enforce()
        await asyncio.sleep(0.1)
        one.plane.show(differed=2, disagreements=2)
        await asyncio.wait_for(one.halted.wait(), 60)
        watching.cancel()
        return one

    assert asyncio.run(scenario()).reasons == [HaltReason.DISAGREEMENTS]


def test_a_halt_that_is_under_way_is_not_asked_for_again() -> None:
    def twice(one: Watched) -> None:
        one.plane.show(witness_packets=1)
        one.halts.witnessed()
        one.halts.witnessed()

    assert watched(twice).reasons == [HaltReason.WITNESS]


def test_a_sample_from_before_a_change_is_no_witness() -> None:
    """Who is registered now may have been sent to wait a moment ago."""

    async def registers(one: Watched) -> None:
        await one.house.applier.take(
            fetched("prefix,registration\n198.51.100.0/24,R-2\n")
        )

    first = [waits(STRANGER.address), registers]
    assert watched(*first).reasons == []
    assert watched(*first, settles).reasons == [HaltReason.WITNESS]


def test_a_sample_is_no_witness_while_the_kernel_changes() -> None:
    late = waits(MEMBER.address)
    now = time.monotonic()
    assert watched(shows(changed=now - 2), late).reasons == []
    assert watched(shows(changed=now - 6), late).reasons == [HaltReason.WITNESS]


def test_who_is_protected_is_a_witness_too() -> None:
    text = CONFIG + '[protect]\nprefixes = ["198.51.100.10/32"]\n'
    assert watched(waits(STRANGER.address), text=text).reasons == [HaltReason.WITNESS]


def test_protecting_somebody_who_waits_is_no_witness() -> None:
    async def protects(one: Watched) -> None:
        text = CONFIG + '[protect]\nprefixes = ["198.51.100.10/32"]\n'
        await one.house.applier.take(config_read(text))

    assert watched(waits(STRANGER.address), protects).reasons == []
