# SPDX-License-Identifier: GPL-2.0-or-later
"""Clocks that jump."""

import random

import pytest

from vpngate.timekeeping.clock import Clock, Reading, read_clock, restore_clock
from vpngate.timekeeping.moments import Span

NOW = 1_800_000_000.0
HOUR, YEAR = 3600.0, 31_536_000.0
PATIENCE = 72 * HOUR


def after(*readings: tuple[float, float] | tuple[float, float, str]) -> Clock:
    clock: Clock | None = None
    for wall, uptime, *boot in readings:
        reading = Reading(wall, uptime, boot[0] if boot else "a")
        clock = read_clock(clock, reading, PATIENCE)
    assert clock is not None
    return clock


def test_a_clock_that_runs_is_never_in_doubt() -> None:
    clock, rng, drift = after((NOW, 0.0)), random.Random(1), 0.0
    for step in range(1, 2000):
        # Time servers push it to and fro.
        drift += rng.uniform(-50, 50)
        wall = NOW + step * 60 + drift
        clock = read_clock(clock, Reading(wall, step * 60.0, "a"), PATIENCE)
        assert clock.span == Span(wall, wall)
        assert not clock.jumped


@pytest.mark.parametrize("jump", [-57 * YEAR, -YEAR, -HOUR, HOUR, YEAR, 70 * YEAR])
def test_a_jump_is_believed_only_after_a_while(jump: float) -> None:
    clock = after((NOW, 0.0))
    for hours in range(1, 73):
        run = hours * HOUR
        clock = read_clock(clock, Reading(NOW + jump + run, run, "a"), PATIENCE)
        if hours < 72:
            assert clock.span == Span(*sorted((NOW + run, NOW + jump + run)))
            assert clock.jumped
    assert clock.span == Span(NOW + jump + run, NOW + jump + run)


def test_a_clock_that_jumps_back_stays_in_doubt_for_a_while() -> None:
    clock = after((NOW, 0.0), (NOW + YEAR, 1.0), (NOW + 2, 2.0))
    assert clock.span == Span(NOW + 2, NOW + YEAR + 1)
    clock = read_clock(clock, Reading(NOW + PATIENCE, PATIENCE, "a"), PATIENCE)
    assert clock.jumped
    clock = read_clock(clock, Reading(NOW + PATIENCE + 9, PATIENCE + 9, "a"), PATIENCE)
    assert not clock.jumped


def test_a_machine_without_a_clock_of_its_own_finds_the_time() -> None:
    # It boots in 1970; a time server puts it right.
    clock = after((0.0, 1.0), (60.0, 61.0), (NOW, 62.0))
    assert clock.span == Span(61.0, NOW)
    # The next boot: in 1970 again, and what was last shown is remembered.
    clock = read_clock(clock, Reading(5.0, 5.0, "b"), PATIENCE)
    assert clock.span == Span(5.0, NOW)


def test_time_switched_off_is_in_the_span_and_then_is_not() -> None:
    clock = after((NOW, 500.0), (NOW + YEAR, 10.0, "b"))
    assert clock.span == Span(NOW, NOW + YEAR)
    late = PATIENCE + 10
    clock = read_clock(clock, Reading(NOW + YEAR + PATIENCE, late, "b"), PATIENCE)
    assert not clock.jumped


def test_an_uptime_that_shrank_is_another_boot_whatever_its_name() -> None:
    clock = after((NOW, 500.0), (NOW + 30, 10.0))
    assert clock.span == Span(NOW + 30, NOW + 30)
    clock = after((NOW, 500.0), (NOW + 90, 10.0))
    assert clock.span == Span(NOW, NOW + 90)


def test_a_clock_gone_wild_is_remembered_by_its_extremes() -> None:
    rng = random.Random(2)
    walls = [NOW + rng.uniform(-YEAR, YEAR) for _ in range(500)]
    clock = after(*((wall, 0.0) for wall in walls))
    assert clock.span == Span(min(walls), max(walls))
    assert len(clock.courses) <= 17


def test_a_clock_is_kept_as_text() -> None:
    clock = after((NOW, 0.0), (NOW + YEAR, 1.5), (3.25, 7.0, "b"))
    assert restore_clock(clock.dump()) == clock


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"boot": "a", "uptime": 1, "courses": []}',
        '{"boot": "a", "uptime": 1, "courses": [3]}',
        '{"boot": "a", "uptime": null, "courses": [[1, 2]]}',
        '{"boot": "a", "uptime": 1, "courses": [["x", 2]]}',
        '{"boot": "a", "uptime": 1, "courses": [[NaN, 2]]}',
        '{"boot": "a", "uptime": 1, "courses": [[1, Infinity]]}',
        '{"boot": "a", "uptime": 1, "courses": [[1' + 400 * "0" + ", 2]]}",
        "[" * 100_000,
    ],
)
def test_a_damaged_text_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        restore_clock(text)
