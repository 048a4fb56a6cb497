# SPDX-License-Identifier: GPL-2.0-or-later
"""The switch is armed only while it is wanted, justified and possible."""

import asyncio
import math
import time
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from vpngate.daemon.wellbeing.deadman import DeadMan
from vpngate.errors import KernelRefused
from vpngate.metrics import Metrics


@dataclass
class Switch:
    """Stands in for the data plane: what is tested is when it is asked."""

    armings: int = 0
    refuses: bool = False
    fit: bool = True
    at_most: float = 0.0
    often: asyncio.Event = field(default_factory=asyncio.Event)

    async def rearm(self, at_most: float = math.inf) -> bool:
        if self.refuses:
            raise KernelRefused("table: no such file")
        self.armings += 1
        self.at_most = at_most
        if self.armings == 5:
            self.often.set()
        return self.fit


@pytest.mark.parametrize(
    ("wanted", "silent", "refuses", "armed"),
    [
        (True, 0.0, False, True),
        (True, 9.0, False, True),
        (True, 11.0, False, False),
        (True, 0.0, True, False),
        (False, 0.0, False, False),
    ],
)
def test_a_round(*, wanted: bool, silent: float, refuses: bool, armed: bool) -> None:
    switch, metrics = Switch(refuses=refuses), Metrics("1", ())
    deadman = DeadMan(cast("Any", switch), lambda: time.monotonic() - silent, metrics)
    asyncio.run(deadman.round(wanted=wanted, deadman=30.0))
    assert deadman.armed is armed
    assert switch.armings == armed
    shown = metrics.exposition()[0].decode()
    assert f"vpngate_deadman_armed {float(armed)}" in shown


def test_a_plane_that_cannot_be_armed_now_is_not_called_armed() -> None:
    switch, metrics = Switch(fit=False), Metrics("1", ())
    deadman = DeadMan(cast("Any", switch), time.monotonic, metrics)
    asyncio.run(deadman.round(wanted=True, deadman=30.0))
    assert not deadman.armed
    assert "vpngate_deadman_armed 0.0" in metrics.exposition()[0].decode()


@pytest.mark.parametrize("left", [7.0, 0.0, -1.0])
def test_it_is_armed_for_no_longer_than_slowing_is_allowed(left: float) -> None:
    switch = Switch()
    deadman = DeadMan(cast("Any", switch), time.monotonic, Metrics("1", ()))
    deadman.left = lambda: left
    asyncio.run(deadman.round(wanted=True, deadman=30.0))
    assert deadman.armed is (left > 0)
    assert switch.at_most == max(left, 0.0)


def test_a_change_is_not_waited_for_a_third_of_the_dead_mans_time() -> None:
    switch, wanted = Switch(), False
    deadman = DeadMan(cast("Any", switch), time.monotonic, Metrics("1", ()))

    async def scenario() -> None:
        nonlocal wanted
        held = asyncio.create_task(deadman.hold(lambda: (wanted, 3600.0)))
        await asyncio.sleep(0)
        assert switch.armings == 0
        wanted = True
        deadman.at_once()
        async with asyncio.timeout(20):
            while not deadman.armed:  # noqa: ASYNC110 - it has no event to tell
                await asyncio.sleep(0)
        held.cancel()

    asyncio.run(scenario())


def test_it_is_held_three_times_in_the_dead_mans_time() -> None:
    switch = Switch()
    deadman = DeadMan(cast("Any", switch), time.monotonic, Metrics("1", ()))

    async def hold_for_a_while() -> None:
        held = asyncio.create_task(deadman.hold(lambda: (True, 0.3)))
        await asyncio.wait_for(switch.often.wait(), 20)
        held.cancel()

    asyncio.run(hold_for_a_while())
