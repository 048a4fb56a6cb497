# SPDX-License-Identifier: GPL-2.0-or-later
"""Interfaces and addresses that come and go, and a machine that cannot be looked at."""

import asyncio
from pathlib import Path

import pytest

from tests.unit.daemon.test_reloader import Desk
from vpngate.attachment.machine import Machine
from vpngate.errors import KernelRefused


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_interfaces_are_followed(desk: Desk) -> None:
    async def scenario() -> None:
        gatehouse = await desk.open()
        desk.machine = Machine(("lan0", "lan7"), frozenset({b"\x0a\0\0\1"}))
        await desk.lookout.look_again()
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
                await desk.lookout.look_again()
            # On the subscriber side the kernel goes on asking for the way back.
            assert gatehouse.plane.ruleset.enforce == (side == "subscriber")
            assert gatehouse.plane.ruleset.interfaces == ("lan0",)
        desk.blind = None
        await desk.lookout.look_again()
        assert gatehouse.plane.ruleset.enforce

    asyncio.run(scenario())
