# SPDX-License-Identifier: GPL-2.0-or-later
"""What is told of a source leaves out what may be secret in its address."""

from dataclasses import replace
from pathlib import Path

from tests.unit.daemon.gatehouse import NOW, REGISTRY
from vpngate.config.sections import RegistrySection
from vpngate.daemon.fetches import Fetches
from vpngate.daemon.wall_clock import WallClock
from vpngate.feed import Store
from vpngate.metrics import Metrics
from vpngate.supply.keeper import Keeper
from vpngate.timekeeping.clock import Reading

# Nobody listens at port 1.
SHOWN = "https://127.0.0.1:1/registry.csv"
SOURCE = f"{SHOWN}?token=hunter2"


def keeper(source: str, state: Path) -> Keeper:
    """The one that asks a source."""
    settings = RegistrySection.model_validate(
        {"sources": [source], "state": str(state), "allow_unsigned": True}
    )
    return Keeper(settings, WallClock(60.0, lambda: Reading(NOW, 1.0, "boot")))


def test_no_query_of_a_source_is_told(tmp_path: Path) -> None:
    """Neither after a start from the disk, nor after a refresh."""
    registry, state = tmp_path / "registry.csv", tmp_path / "state"
    registry.write_text(REGISTRY)
    first = keeper(str(registry), state)
    delivery = first.boot()
    kept = delivery.last_good
    assert kept is not None
    # As if it had come from there.
    validators = replace(kept.validators, source=SOURCE)
    Store(state).save(replace(kept, validators=validators))
    started = keeper(SOURCE, state)
    delivery = started.boot()
    assert delivery.refusal is not None
    clock = WallClock(60.0, lambda: Reading(NOW, 1.0, "boot"))
    fetches = Fetches(started, Metrics("1", ()), clock, delivery)
    assert fetches.source == SHOWN
    fetches.came_into_force()
    assert fetches.source == SHOWN
    assert started.validators == validators, "whole, to be compared"
