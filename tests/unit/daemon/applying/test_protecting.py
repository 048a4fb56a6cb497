# SPDX-License-Identifier: GPL-2.0-or-later
"""Whom the configuration protects is left alone from one change to the next."""

import asyncio

import pytest

from tests.unit.daemon.applying.test_applier import FEWER, WITH_STRANGER, throttling
from tests.unit.daemon.gatehouse import (
    CONFIG,
    NOW,
    REGISTRY,
    STRANGER,
    Gatehouse,
    config_read,
    fetched,
    snapshot,
)
from vpngate.daemon.applying.events import (
    RegistryFetched,
)
from vpngate.errors import KernelRefused
from vpngate.kernel.dryrun import DryRunDataPlane
from vpngate.packets import parse_address
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset

GUARDED = '[protect]\nprefixes = ["198.51.100.0/24"]\n'


class Told(DryRunDataPlane):
    """Notes in which order it is told what is spared and what is protected."""

    refusing = False

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def _note(self, what: str) -> None:
        either = (self.ruleset.spared, self.protected)
        left_alone = any(each.contains(STRANGER.address) for each in either)
        self.told.append(f"{what}: {'left alone' if left_alone else 'neither'}")

    async def replace(self, ruleset: Ruleset) -> None:
        if self.refusing:
            raise KernelRefused("table vpngate: no memory")
        await super().replace(ruleset)
        self._note("replace")

    async def protect(self, addresses: Intervals) -> None:
        await super().protect(addresses)
        self._note("protect")


def test_protecting_ends_the_verdict_and_asks_for_no_other_rules() -> None:
    async def scenario() -> None:
        plane = Told()
        gatehouse = Gatehouse(plane=plane)
        await throttling(gatehouse)
        await gatehouse.take(config_read(CONFIG + GUARDED))
        assert plane.told == ["protect: left alone"]
        assert plane.flows == []
        assert not plane.ruleset.spared.contains(STRANGER.address)
        assert plane.protected.contains(parse_address("100.64.1.1")), "its own"
        await gatehouse.take(config_read(CONFIG + GUARDED))
        assert len(plane.told) == 1

    asyncio.run(scenario())


def test_who_goes_from_the_registry_to_the_protected_is_never_neither() -> None:
    async def scenario() -> None:
        plane = Told()
        gatehouse = Gatehouse(plane=plane)
        await gatehouse.open()
        await gatehouse.take(fetched(WITH_STRANGER))
        plane.told.clear()
        await gatehouse.take(config_read(CONFIG + GUARDED))
        await gatehouse.take(fetched(REGISTRY))
        assert plane.told == ["protect: left alone", "replace: left alone"]
        plane.told.clear()
        await gatehouse.take(config_read(CONFIG))
        await gatehouse.take(fetched(WITH_STRANGER))
        assert plane.told == ["replace: left alone", "protect: left alone"]

    asyncio.run(scenario())


def test_who_was_protected_for_a_change_that_failed_is_until_one_is_taken() -> None:
    async def scenario() -> None:
        plane = Told()
        gatehouse = Gatehouse(plane=plane)
        await gatehouse.open()
        plane.refusing = True
        with pytest.raises(KernelRefused, match="no memory"):
            await gatehouse.take(config_read(CONFIG + GUARDED + FEWER))
        assert plane.protected.contains(STRANGER.address)
        plane.refusing = False
        assert await gatehouse.age()
        assert plane.protected.contains(STRANGER.address)
        assert len(plane.ruleset.signatures) > len(
            snapshot(CONFIG + FEWER).ruleset(NOW).signatures
        )
        await gatehouse.take(config_read(CONFIG))
        await gatehouse.take(RegistryFetched(None))
        assert not plane.protected.contains(STRANGER.address)
        assert not await gatehouse.age()

    asyncio.run(scenario())
