# SPDX-License-Identifier: GPL-2.0-or-later
"""A start from the disk suspends as the registry on it does."""

import json
from pathlib import Path

from vpngate.config.sections import RegistrySection
from vpngate.daemon.wall_clock import WallClock
from vpngate.supply.keeper import Keeper


def test_a_start_from_the_disk_still_suspends(tmp_path: Path) -> None:
    source = tmp_path / "registry.json"
    item = {"prefix": "192.0.2.0/24", "registration": "R-1"}
    source.write_text(json.dumps({"suspend": "a mistake", "registrations": [item]}))
    settings = RegistrySection.model_validate(
        {"sources": [str(source)], "state": str(tmp_path / "state")}
    )
    keeper = Keeper(settings, WallClock(60.0))
    keeper.keep(keeper.boot())
    source.unlink()
    started = Keeper(settings, WallClock(60.0)).boot()
    assert started.refusal is not None
    assert started.registry.suspend == "a mistake"
