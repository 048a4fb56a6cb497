# SPDX-License-Identifier: GPL-2.0-or-later
"""What was confirmed before is slowed once acting begins, and only what still is."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.unit.daemon.gatehouse import (
    CONFIG,
    MEMBER,
    NOW,
    REGISTRY,
    STRANGER,
    Gatehouse,
    config_read,
    fetched,
    handshake,
    snapshot,
)
from vpngate.daemon.traffic.catching_up import CatchingUp
from vpngate.errors import MachineFault, Problem
from vpngate.kernel.dryrun import DryRunDataPlane
from vpngate.packets import Endpoint, HookPoint, parse_address
from vpngate.policy import Throttle

OBSERVE = CONFIG.replace("enforce", "observe")
SUBSCRIBERS = [Endpoint(parse_address(f"100.64.1.{n}"), 4000) for n in range(2, 52)]


class Recording(DryRunDataPlane):
    """Notes how much it is handed at a time; refuses the first few times."""

    def __init__(self, refusals: int = 0) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.refusals = refusals
        self.first = asyncio.Event()
        self.goes_on = asyncio.Event()  # after the first
        self.goes_on.set()

    async def throttle(self, flows: Sequence[Throttle]) -> None:
        self.sizes.append(len(flows))
        if self.refusals:
            self.refusals -= 1
            raise MachineFault(Problem("kernel", "no memory"))
        await asyncio.sleep(0)
        await super().throttle(flows)
        self.first.set()
        await self.goes_on.wait()


async def _begun(plane: Recording, text: str = OBSERVE) -> Gatehouse:
    gatehouse = Gatehouse(snapshot(text), plane)
    await gatehouse.open()
    catching_up = CatchingUp(gatehouse.pipeline, plane, lambda: NOW)
    catching_up.consider(gatehouse.current.snapshot)
    told = gatehouse.current.told
    told.append(lambda: catching_up.consider(gatehouse.current.snapshot))
    gatehouse.running = asyncio.create_task(catching_up.run())  # type: ignore[attr-defined]
    for number, near in enumerate(SUBSCRIBERS):
        heard = handshake(STRANGER, index=number, subscriber=near)
        gatehouse.pipeline.take(heard, 1.0, NOW)
    heard = handshake(MEMBER, index=99, subscriber=SUBSCRIBERS[0])
    gatehouse.pipeline.take(heard, 1.0, NOW)
    return gatehouse


async def _enforced(gatehouse: Gatehouse) -> None:
    await gatehouse.take(config_read(CONFIG))
    await gatehouse.take(fetched(REGISTRY))


async def _settled() -> None:
    for _ in range(300):
        await asyncio.sleep(0)


def test_all_that_is_confirmed_and_unregistered_is_slowed_at_once() -> None:
    async def scenario() -> None:
        plane = Recording()
        gatehouse = await _begun(plane)
        await _settled()
        assert plane.flows == []
        await _enforced(gatehouse)
        await _settled()
        assert {flow.subscriber for flow in plane.flows} == set(SUBSCRIBERS)
        assert {flow.remote for flow in plane.flows} == {STRANGER}
        assert 0 < max(plane.sizes) <= 12

    asyncio.run(scenario())


def test_what_is_taken_back_meanwhile_is_left_alone() -> None:
    async def scenario() -> None:
        plane = Recording()
        plane.goes_on.clear()
        gatehouse = await _begun(plane)
        await _enforced(gatehouse)
        await plane.first.wait()
        before = {flow.subscriber for flow in plane.flows}
        assert len(before) < len(SUBSCRIBERS)
        for number, near in enumerate(SUBSCRIBERS):
            if near not in before:
                _contradict(gatehouse, near, 1000 + number)
        plane.goes_on.set()
        await _settled()
        assert {flow.subscriber for flow in plane.flows} - before <= _at_work(plane)

    asyncio.run(scenario())


def _at_work(plane: Recording) -> set[Endpoint]:
    """Whom the step was about that was under way; its withdrawal comes behind it."""
    return set(SUBSCRIBERS[: 2 * max(plane.sizes)])


def _contradict(gatehouse: Gatehouse, near: Endpoint, index: int) -> None:
    """Two ends that send the same bytes are an echo, and no tunnel."""
    asked = handshake(STRANGER, index=index, subscriber=near)[0]
    packet = asked.packet
    back = packet._replace(source=packet.destination, destination=packet.source)
    echo = asked._replace(packet=back, hook=HookPoint.EGRESS)
    gatehouse.pipeline.take([asked, echo], 1.0, NOW)


@pytest.mark.parametrize("text", [OBSERVE, CONFIG])
def test_nothing_is_handed_over_while_it_observes_again(text: str) -> None:
    async def scenario() -> None:
        plane = Recording()
        gatehouse = await _begun(plane)
        await _enforced(gatehouse)
        await gatehouse.take(config_read(text))
        await _settled()
        expected = set(SUBSCRIBERS) if text == CONFIG else set()
        assert {flow.subscriber for flow in plane.flows} == expected

    asyncio.run(scenario())


def test_what_the_kernel_does_not_take_ends_nothing() -> None:
    async def scenario() -> None:
        plane = Recording(refusals=1)
        gatehouse = await _begun(plane)
        await _enforced(gatehouse)
        await _settled()
        slowed = {flow.subscriber for flow in plane.flows}
        assert slowed < set(SUBSCRIBERS)
        assert len(slowed) > len(SUBSCRIBERS) / 2

    asyncio.run(scenario())


def test_what_is_taken_back_comes_behind_what_is_on_its_way() -> None:
    """A flow says only once that it is none: it must find the verdict there."""

    async def scenario() -> None:
        plane = Recording()
        gatehouse = await _begun(plane)
        order: list[str] = []
        throttle = plane.throttle

        async def slowly(flows: Sequence[Throttle]) -> None:
            order.append("begins")
            for _ in range(5):
                await asyncio.sleep(0)
            await throttle(flows)
            order.append("ends")

        async def take_back() -> None:
            while "begins" not in order:  # noqa: ASYNC110
                await asyncio.sleep(0)
            async with gatehouse.pipeline.handing_over:  # as whoever delivers does
                order.append("taken back")

        plane.throttle = slowly  # type: ignore[method-assign]
        taking_back = asyncio.create_task(take_back())
        await _enforced(gatehouse)
        await taking_back
        while len(plane.flows) < len(SUBSCRIBERS) - 1:  # noqa: ASYNC110
            await asyncio.sleep(0)
        at = order.index("taken back")
        assert order[:at].count("begins") == order[:at].count("ends") > 0

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(bounded())
