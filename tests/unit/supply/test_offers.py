# SPDX-License-Identifier: GPL-2.0-or-later
"""What sources offer: read, told with where it stands, and judged by who asked."""

from pathlib import Path

import pytest

from vpngate.config.sections import RegistrySection
from vpngate.errors import FeedFault, InvalidRegistry, RegistryRefused
from vpngate.feed import (
    LastGood,
    NoSourceAnswered,
    NotModified,
    Reason,
    Validators,
    reason_of,
)
from vpngate.registry import Accept
from vpngate.supply.offers import Offer, Supply

NOW = 1_800_000_000.0
HEAD = "prefix,registration\n"
SOUND = HEAD + "192.0.2.0/24,R-1\n"
NOBODY = HEAD


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, Path]:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    for each in (first, second):
        each.write_text(SOUND)
    return first, second


@pytest.fixture
def supply(sources: tuple[Path, Path], tmp_path: Path) -> Supply:
    settings = RegistrySection.model_validate(
        {"sources": [*map(str, sources)], "state": str(tmp_path / "state")}
    )
    return Supply(settings, lambda: NOW)


def first_that_passes(supply: Supply) -> Offer:
    with supply.offers() as offers:
        for offer in offers.registries():
            try:
                supply.guard(offer, None, ())
            except RegistryRefused as refused:
                offers.refuse(refused)
            else:
                return offer
    raise AssertionError("offers end by a fault")


def test_what_cannot_be_read_is_one_sources_fault(
    supply: Supply, sources: tuple[Path, Path]
) -> None:
    sources[0].write_text("<html>")
    offer = first_that_passes(supply)
    assert offer.source == str(sources[1])
    (fault,) = offer.faults
    assert isinstance(fault, InvalidRegistry)
    assert fault.lines[0].startswith(f"{sources[0]}: ")


def test_what_the_guard_refuses_is_told_with_its_source(
    supply: Supply, sources: tuple[Path, Path]
) -> None:
    sources[0].write_text(NOBODY)
    offer = first_that_passes(supply)
    assert offer.source == str(sources[1])
    (fault,) = offer.faults
    assert reason_of(fault) == "empty"
    assert fault.lines[0].startswith(f"{sources[0]}: registry: has no registration")
    sources[1].write_text(NOBODY)
    with pytest.raises(NoSourceAnswered) as caught:
        first_that_passes(supply)
    assert [line.split(": ")[0] for line in caught.value.lines] == [*map(str, sources)]


def test_a_persons_word_lets_pass_what_the_guard_refuses(
    supply: Supply, sources: tuple[Path, Path]
) -> None:
    sources[0].write_text(NOBODY)
    with supply.offers() as offers:
        offer = next(offers.registries())
    supply.guard(offer, None, [Accept.REMOVALS])
    with pytest.raises(RegistryRefused):
        supply.insist(offer)


def test_bad_rows_are_told_with_their_source(
    supply: Supply, sources: tuple[Path, Path]
) -> None:
    sources[0].write_text(SOUND + "x,R-2\n")
    with supply.offers() as offers:
        offer = next(offers.registries())
    (problem,) = offer.loaded.problems
    assert problem.where.startswith(f"{sources[0]}: line 3")
    assert len(offer.registry) == 1


def test_what_still_stands_is_not_read_again(supply: Supply) -> None:
    with supply.offers() as offers:
        validators = next(offers.registries()).answer.validators
    with supply.offers(validators) as offers:
        assert isinstance(next(iter(offers)), NotModified)


def test_a_stop_ends_the_reading_and_asks_nobody_else(supply: Supply) -> None:
    supply.cancel()
    with pytest.raises(FeedFault) as caught:
        supply.read(SOUND.encode(), "here")
    assert caught.value.reason == Reason.CANCELLED
    with pytest.raises(FeedFault, match="asked to stop"):
        first_that_passes(supply)


def test_whoever_only_the_last_good_one_has_keeps_the_grace(supply: Supply) -> None:
    assert supply.last_good() is None
    before = HEAD + "198.51.100.0/24,R-9\n"
    supply.store.save(LastGood(before.encode(), None, Validators(), b"clock\n"))
    kept = supply.last_good()
    assert kept is not None
    offer = first_that_passes(supply)
    registry = supply.carry_over(kept.recalled(), offer.registry)
    found = registry.lookup(bytes([198, 51, 100, 1]), NOW)
    assert found is not None
    assert (found.id, found.in_grace) == ("R-9", True)
