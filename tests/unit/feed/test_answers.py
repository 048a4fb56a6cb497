# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers come one after the other, for as long as somebody looks for a better one."""

from pathlib import Path

import pytest

from vpngate.errors import FeedFault, Problem, RegistryRefused
from vpngate.feed import Feed, FeedSettings, Fetched, NoSourceAnswered, Reason

REFUSED = RegistryRefused("empty", Problem("registry", "has nobody"))


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, Path]:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text("first")
    return first, second


@pytest.fixture
def feed(sources: tuple[Path, Path]) -> Feed:
    return Feed(FeedSettings.parse([*map(str, sources)]))


def test_a_source_is_asked_when_the_one_before_was_refused(
    feed: Feed, sources: tuple[Path, Path]
) -> None:
    told = []

    def refuse_all() -> None:
        with feed.asking() as answers:
            for answer in answers:
                assert isinstance(answer, Fetched)
                told.append((answer.data, answer.faults))
                if not sources[1].exists():
                    sources[1].write_text("second")  # not there until now
                answers.refuse(REFUSED)

    with pytest.raises(NoSourceAnswered) as caught:
        refuse_all()
    assert told == [(b"first", ()), (b"second", (REFUSED,))]
    assert caught.value.faults == (REFUSED, REFUSED)


def test_a_registry_that_memory_does_not_suffice_for_is_no_defect(
    feed: Feed, sources: tuple[Path, Path]
) -> None:
    sources[1].write_text("second")

    def refuse_all() -> None:
        with feed.asking() as answers:
            for _ in answers:
                answers.refuse(MemoryError())

    with pytest.raises(NoSourceAnswered) as caught:
        refuse_all()
    for line, source in zip(caught.value.lines, sources, strict=True):
        assert line.startswith(f"{source}: memory does not suffice for it; ")


@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_who_leaves_early_makes_room_for_the_next(
    feed: Feed, error: type[Exception] | None
) -> None:
    kept = []
    for _ in range(2):
        try:
            with feed.asking() as answers:
                kept.append(iter(answers))  # what is still held holds up nobody
                answer = next(kept[-1])
                if error is not None:
                    raise error
        except ZeroDivisionError:
            continue
        assert answer.source.endswith("first.csv")
    assert len(kept) == 2


def test_what_is_refused_after_a_stop_ends_it(
    feed: Feed, sources: tuple[Path, Path]
) -> None:
    sources[1].write_text("second")
    asked = []

    def stopped_meanwhile() -> None:
        with feed.asking() as answers:
            for answer in answers:
                asked.append(answer.source)
                feed.cancel()
                try:
                    feed.check(answer.source)
                except FeedFault as stopped:
                    answers.refuse(stopped)

    with pytest.raises(FeedFault) as caught:
        stopped_meanwhile()
    assert caught.value.reason == Reason.CANCELLED
    assert asked == [str(sources[0])]
