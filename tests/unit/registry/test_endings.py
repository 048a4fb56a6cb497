# SPDX-License-Identifier: GPL-2.0-or-later
"""Registrations that end or leave their grace: when, and in which order."""

from vpngate.registry import Limits, Registry, by_day, carry_over, endings, load
from vpngate.registry.endings import Turn
from vpngate.timekeeping.moments import format_moment

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z
DAY = 86400.0


def registry(*ends: float | None, grace: float = 0.0) -> Registry:
    rows = ["prefix,registration,tunnels,valid_from,valid_until"]
    for number, end in enumerate(ends):
        until = "" if end is None else format_moment(end)
        rows.append(f"10.0.{number}.0/24,R-{number},,,{until}")
    limits = Limits(grace=grace)
    return load("\n".join(rows).encode(), limits=limits, now=NOW).registry


def turns(known: Registry, within: float) -> list[tuple[float, Turn, int]]:
    found = endings(known, NOW, within).first(100)
    return [((each.at - NOW) / DAY, each.turn, each.row) for each in found]


def test_what_has_no_end_does_not_end() -> None:
    assert turns(registry(None, NOW + 31 * DAY), 30 * DAY) == []


def test_one_that_ends_begins_its_grace_and_leaves_it() -> None:
    known = registry(NOW + 2 * DAY, NOW + DAY, NOW - DAY, NOW - 4 * DAY, grace=3 * DAY)
    assert turns(known, 4 * DAY) == [
        (1.0, Turn.ENDS, 1),
        (2.0, Turn.ENDS, 0),
        (2.0, Turn.LEAVES_GRACE, 2),
        (4.0, Turn.LEAVES_GRACE, 1),
    ]


def test_without_grace_it_is_one_moment() -> None:
    assert turns(registry(NOW + DAY), DAY) == [(1.0, Turn.LEAVES_GRACE, 0)]
    assert turns(registry(NOW + DAY), DAY - 1) == []


def test_who_was_removed_leaves_its_grace() -> None:
    old, new = registry(None, None), registry(None)
    both = carry_over(old, new, 2 * DAY, NOW)
    assert turns(both, 3 * DAY) == [(2.0, Turn.LEAVES_GRACE, 0)]


def test_by_day() -> None:
    known = registry(NOW + DAY, NOW + DAY + 1, NOW + 5 * DAY, grace=DAY)
    found = by_day(endings(known, NOW, 3 * DAY), NOW, 3 * DAY)
    assert found["days"] == [
        {"day": "2027-01-16", "ends": 2, "leaves_grace": 0},
        {"day": "2027-01-17", "ends": 0, "leaves_grace": 2},
    ]
    assert found["registrations"][0] == {
        "at": "2027-01-16T08:00:00Z",
        "what": "ends",
        "registration": "R-0",
        "prefix": "10.0.0.0/24",
    }
    assert found["more"] == 0


def test_all_are_counted_and_the_first_are_named() -> None:
    text = ["prefix,registration,tunnels,valid_from,valid_until"]
    until = format_moment(NOW + DAY)
    text += [f"10.{n >> 8}.{n & 255}.0/24,R-{n},,,{until}" for n in range(1100)]
    known = load("\n".join(text).encode(), limits=Limits(), now=NOW).registry
    found = by_day(endings(known, NOW, 2 * DAY), NOW, 2 * DAY)
    assert (len(found["registrations"]), found["more"]) == (1000, 100)
    assert found["days"] == [{"day": "2027-01-16", "ends": 0, "leaves_grace": 1100}]
