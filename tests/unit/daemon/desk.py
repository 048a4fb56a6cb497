# SPDX-License-Identifier: GPL-2.0-or-later
"""Files as an operator edits them, and a daemon's parts that read them."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.daemon.gatehouse import (
    CONFIG,
    NOW,
    REGISTRY,
    Gatehouse,
    config,
    snapshot,
)
from vpngate.attachment.machine import Machine
from vpngate.config import Config
from vpngate.daemon.lookout import Lookout
from vpngate.daemon.reloader import Reloader
from vpngate.daemon.wall_clock import WallClock
from vpngate.errors import (
    VpngateError,
)
from vpngate.feed import Store
from vpngate.kernel.dryrun import DryRunDataPlane
from vpngate.supply.keeper import Keeper
from vpngate.timekeeping.clock import Reading


class Desk:
    """Files as an operator edits them, and the reloader that reads them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = folder / "registry.csv"
        self.config = folder / "vpngate.toml"
        self.registry.write_text(REGISTRY)
        self.write()
        self.machine = Machine(("lan0",), frozenset())
        self.blind: VpngateError | None = None  # what keeps the machine from being seen
        self.now = NOW

    def look(self, _: Config) -> Machine:
        if self.blind is not None:
            raise self.blind
        return self.machine

    def write(self, gateway: str = "", registry: str = "", rest: str = "") -> None:
        where = f'sources = ["{self.registry}"]\nstate = "{self.folder / "state"}"\n'
        self.put(f"{CONFIG}{gateway}\n[registry]\n{where}{registry}\n{rest}")

    def put(self, text: str) -> None:
        """The configuration in one piece: a thread may be reading it."""
        (new := self.config.with_suffix(".new")).write_text(text)
        new.rename(self.config)

    def read(self, path: str) -> Config:
        assert path == str(self.config)
        return config(Path(path).read_text())

    def kept(self) -> str:
        """The last good registry on disk."""
        last = Store(self.folder / "state").load()
        return last.data.decode() if last else ""

    async def open(self, plane: DryRunDataPlane | None = None) -> Gatehouse:
        """The parts of a daemon that has started."""
        settings = self.read(str(self.config))
        self.clock = clock = WallClock(
            60.0, lambda: Reading(self.now, 1.0 + self.now - NOW, "boot")
        )
        keeper = Keeper(settings.registry, clock)
        delivery = await asyncio.to_thread(keeper.boot)
        start = snapshot(self.config.read_text())
        self.gatehouse = Gatehouse(
            replace(start, registry=delivery.registry, machine=self.machine),
            plane or DryRunDataPlane(),
            clock=clock,
            keeper=keeper,
            delivery=delivery,
        )
        await self.gatehouse.open()
        await asyncio.to_thread(keeper.keep, delivery)
        self.lookout = Lookout(self.gatehouse.applier, self.look)
        self.reloader = Reloader(
            self.gatehouse.applier,
            self.gatehouse.fetches,
            self.lookout,
            read_config=self.read,
            path=str(self.config),
        )
        return self.gatehouse

    async def look_again(self) -> None:
        """Look at the machine, and wait for what it leads to."""
        outcome = await self.lookout.look_again()
        if outcome is not None:
            await asyncio.shield(outcome)

    async def refused(self, kind: type[Exception], **options: Any) -> str:
        """Reload, which must fail and leave everything in force as it was."""
        before = self.gatehouse.current.snapshot
        ruleset = self.gatehouse.plane.ruleset
        with pytest.raises(kind) as caught:
            await self.reloader.reload(**options)
        after = self.gatehouse.current.snapshot
        assert after.config == before.config
        assert after.registry.digest == before.registry.digest
        assert self.gatehouse.plane.ruleset == ruleset
        return str(caught.value)
