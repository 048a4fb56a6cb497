# SPDX-License-Identifier: GPL-2.0-or-later
"""Interfaces and addresses that come and go, and a machine that cannot be looked at."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.daemon.desk import Desk
from tests.unit.daemon.gatehouse import REGISTRY, Gatehouse
from vpngate.attachment.machine import Machine
from vpngate.config import Config
from vpngate.daemon.applying.events import Event, MachineSeen
from vpngate.errors import KernelRefused
from vpngate.kernel.dryrun import DryRunDataPlane
from vpngate.ruleset import Ruleset


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_interfaces_are_followed(desk: Desk) -> None:
    async def scenario() -> None:
        gatehouse = await desk.open()
        desk.machine = Machine(("lan0", "lan7"), frozenset({b"\x0a\0\0\1"}))
        await desk.look_again()
        assert gatehouse.plane.ruleset.interfaces == ("lan0", "lan7")
        assert gatehouse.plane.protected.contains(b"\x0a\0\0\1")

    asyncio.run(scenario())


@pytest.mark.parametrize("side", ["subscriber", "uplink"])
def test_nobody_is_slowed_while_it_is_not_known_whether_sources_can_be_forged(
    desk: Desk, side: str
) -> None:
    async def scenario() -> None:
        desk.write(gateway=f'side = "{side}"\nnat = false')
        gatehouse = await desk.open()
        desk.blind = KernelRefused("netlink socket: no room")
        for _ in range(2):
            with pytest.raises(KernelRefused):
                await desk.look_again()
            # On the subscriber side the kernel goes on asking for the way back.
            assert gatehouse.plane.ruleset.enforce == (side == "subscriber")
            assert gatehouse.plane.ruleset.interfaces == ("lan0",)
        desk.blind = None
        await desk.look_again()
        assert gatehouse.plane.ruleset.enforce

    asyncio.run(scenario())


def waiting(gatehouse: Gatehouse) -> list[Event]:
    return [asked.event for asked in gatehouse.applier._asked]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_what_comes_back_before_it_was_let_go_stays(desk: Desk) -> None:
    class Held(DryRunDataPlane):
        def __init__(self) -> None:
            super().__init__()
            self.begun, self.go_on = asyncio.Event(), asyncio.Event()

        async def replace(self, ruleset: Ruleset) -> None:
            self.begun.set()
            await self.go_on.wait()
            await super().replace(ruleset)

    async def scenario() -> None:
        desk.machine = both = Machine(("lan0", "lan7"), frozenset({b"\x0a\0\0\1"}))
        gatehouse = await desk.open(plane := Held())
        desk.registry.write_text(REGISTRY + "198.51.100.0/24,R-9\n")
        reload = asyncio.create_task(desk.reloader.reload())
        await plane.begun.wait()
        desk.machine = Machine(("lan0",))
        gone = asyncio.create_task(desk.look_again())
        await until(lambda: len(waiting(gatehouse)) == 2)
        desk.machine = both
        back = asyncio.create_task(desk.look_again())
        last = MachineSeen(gatehouse.applier.situation.wanted, both)
        await until(lambda: back.done() or waiting(gatehouse)[-1] == last)
        plane.go_on.set()
        await asyncio.gather(reload, gone, back)
        assert plane.ruleset.interfaces == ("lan0", "lan7")
        assert plane.protected.contains(b"\x0a\0\0\1")

    asyncio.run(scenario())


def test_a_reload_looks_at_the_machine_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    look = desk.look

    def counted(config: Config) -> Machine:
        looks.append(config)
        return look(config)

    monkeypatch.setattr(desk, "look", counted)

    async def scenario() -> None:
        await desk.open()
        desk.registry.write_text(REGISTRY + "198.51.100.0/24,R-9\n")
        desk.write(gateway="enforce_share = 7")
        await desk.reloader.reload()
        assert len(looks) == 1

    asyncio.run(scenario())


def test_what_keeps_interfaces_from_being_seen_is_said_once_and_no_look_is_the_last(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        gatehouse = await desk.open()
        following = asyncio.create_task(desk.lookout.follow())
        desk.blind = KernelRefused("netlink socket: no room")
        for _ in range(5):
            desk.lookout.soon()
            await asyncio.sleep(0.05)
        desk.blind = None
        desk.machine = Machine(("lan0", "lan7"))
        desk.lookout.soon()
        async with asyncio.timeout(60):
            while gatehouse.plane.ruleset.interfaces == ("lan0",):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        following.cancel()

    with caplog.at_level("INFO", "vpngate"):
        asyncio.run(scenario())
    assert caplog.text.count("no room; attached as before") == 1
    assert caplog.text.count("attached to lan0, lan7") == 1


def test_a_machine_that_cannot_be_seen_keeps_nobody_from_observing(desk: Desk) -> None:
    async def scenario() -> None:
        gatehouse = await desk.open()
        desk.blind = KernelRefused("netlink socket: no room")
        text = desk.config.read_text()
        desk.put(text.replace('"enforce"', '"observe"'))
        await desk.reloader.reload()
        assert not gatehouse.plane.ruleset.enforce
        assert gatehouse.plane.ruleset.interfaces == ("lan0",)

    asyncio.run(scenario())
