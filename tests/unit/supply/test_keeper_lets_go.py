# SPDX-License-Identifier: GPL-2.0-or-later
"""What a keeper has done with goes at once: no collector may have to find it."""

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from vpngate.config.sections import RegistrySection
from vpngate.daemon.wall_clock import WallClock
from vpngate.feed import NoSourceAnswered
from vpngate.supply.keeper import Delivery, Keeper
from vpngate.timekeeping.clock import Reading

NOW = 1_800_000_000.0
HEAD = "prefix,registration\n"


@pytest.fixture(autouse=True)
def _without_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def rows(*numbers: int) -> str:
    return HEAD + "".join(f"192.0.{number}.0/24,R-{number}\n" for number in numbers)


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "first.csv", tmp_path / "second.csv"


@pytest.fixture
def keeper(sources: tuple[Path, Path], tmp_path: Path) -> Keeper:
    settings = RegistrySection.model_validate(
        {"sources": [*map(str, sources)], "state": str(tmp_path / "state")}
    )
    return Keeper(settings, WallClock(60.0, lambda: Reading(NOW, 1.0, "boot")))


def fetched(keeper: Keeper, last: Delivery | None) -> Delivery:
    delivery = keeper.fetch(None if last is None else last.registry)
    assert delivery is not None
    return delivery


@pytest.mark.parametrize("first", ["<html>", HEAD], ids=["unreadable", "refused"])
def test_a_source_passed_over_keeps_no_registry(
    keeper: Keeper, sources: tuple[Path, Path], first: str
) -> None:
    sources[0].write_text(first)
    last, gone = None, []
    for number in range(1, 4):
        sources[1].write_text(rows(*range(number)))
        last = fetched(keeper, last)
        assert keeper.faults
        gone.append(weakref.ref(last.registry))
    assert [each() is None for each in gone] == [True, True, False]


def test_no_registry_is_kept_by_what_no_source_had(
    keeper: Keeper, sources: tuple[Path, Path]
) -> None:
    for each in sources:
        each.write_text(HEAD)
    sources[1].write_text(rows(1))
    last = fetched(keeper, None)
    sources[1].write_text(HEAD)
    with pytest.raises(NoSourceAnswered):
        keeper.fetch(last.registry)
    gone = weakref.ref(last.registry)
    del last
    assert gone() is None
