# SPDX-License-Identifier: GPL-2.0-or-later
"""A minute has what grew in it, and an hour is sixty minutes and no more."""

from random import Random

from vpngate.daemon.wellbeing.last_hour import (
    LENGTH,
    MINUTES,
    MOST_NAMES,
    LastHour,
    Name,
)

FLOWS, UP = ("flows", "wireguard", "allow"), ("up", "wireguard")
UNKNOWN = [None] * (MINUTES - 1)


def test_what_grows_counts_for_its_minute() -> None:
    hour = LastHour(1000.0)
    for second, total in ((0, 5), (30, 7), (59, 8), (61, 10), (100, 14), (121, 14)):
        hour.note(1000.0 + second, {FLOWS: total}, {})
    assert hour.grown(1121.0, FLOWS) == [*UNKNOWN[1:], 3, 6]
    assert hour.grown(1121.0, ("flows", "ipsec", "allow")) == [*UNKNOWN[1:], 0, 0]
    assert hour.ends(1121.0) == 1120.0


def test_the_minute_that_goes_on_is_not_shown_yet() -> None:
    hour = LastHour(0.0)
    hour.note(1.0, {FLOWS: 1}, {UP: 3})
    hour.note(59.0, {FLOWS: 9}, {UP: 1})
    assert hour.grown(59.9, FLOWS) == [*UNKNOWN, None]
    assert hour.grown(60.0, FLOWS) == [*UNKNOWN, 8]
    assert hour.highest(60.0, UP) == [*UNKNOWN, 3]


def test_a_minute_in_which_nobody_counted_is_not_known() -> None:
    hour = LastHour(0.0)
    hour.note(0.0, {FLOWS: 0}, {})
    hour.note(200.0, {FLOWS: 5}, {})
    assert hour.grown(240.0, FLOWS) == [*UNKNOWN[3:], 0, None, None, 5]


def test_a_total_that_begins_anew_is_not_negative() -> None:
    hour = LastHour(0.0)
    for second, total in ((0, 50), (10, 60), (20, 4)):
        hour.note(float(second), {FLOWS: total}, {})
    assert hour.grown(60.0, FLOWS) == [*UNKNOWN, 14]


def test_it_remembers_an_hour_and_is_as_large_after_a_day() -> None:
    hour, random, naive, total = LastHour(0.0), Random(7), [0] * 1440, 0
    hour.note(0.0, {FLOWS: 0}, {})
    for second in range(5, 86400, 5):
        step = random.randrange(4)
        total += step
        naive[int(second // LENGTH)] += step
        hour.note(float(second), {FLOWS: total}, {UP: step})
        if second % 7200 == 0:
            minute = int(second // LENGTH)
            assert hour.grown(float(second), FLOWS) == naive[minute - MINUTES : minute]
    assert len(hour._ring) == MINUTES + 1
    assert hour.grown(86400.0 + 3600 * 2, FLOWS) == [None] * MINUTES


def test_it_keeps_so_many_names_and_no_more() -> None:
    hour = LastHour(0.0)
    for total in (1, 2):
        many: dict[Name, int] = {("flows", str(n)): total for n in range(10_000)}
        hour.note(1.0, many, many)
    (minute,) = [m for m in hour._ring if m]
    assert len(minute.grown) == len(minute.highest) == MOST_NAMES
