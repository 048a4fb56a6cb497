# SPDX-License-Identifier: GPL-2.0-or-later
"""Which registrations end, or leave their grace, in the time to come.

Knows the two moments that matter of each; does not know who is told.
"""

from collections import Counter
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from vpngate.packets import Family
from vpngate.registry.columns.entries import Entries
from vpngate.registry.registry import Registry
from vpngate.timekeeping.moments import When, format_moment, span_of

MOST = 1000  # that are named; all are counted
_DAY = 86400.0
_DATE = len("2026-12-31")


class Turn(StrEnum):
    """What happens to a registration."""

    ENDS = "ends"  # its grace begins
    LEAVES_GRACE = "leaves grace"  # it stops being registered


class Ending(NamedTuple):
    """One registration, and when (seconds since the epoch) what happens to it."""

    at: float
    turn: Turn
    entries: Entries
    row: int


def endings(registry: Registry, now: When, within: float) -> list[Ending]:
    """Those of the next `within` seconds, the soonest first.

    Where there is no grace a registration that ends is named once, as leaving it.
    """
    found: list[Ending] = []
    for roll in (registry.current, registry.kept):
        for family in Family:
            found += _of(roll.of(family), registry.grace, now, within)
    return sorted(found, key=lambda each: (each.at, each.row))


def _of(entries: Entries, grace: float, now: When, within: float) -> list[Ending]:
    if not len(entries):
        return []
    start = span_of(now).latest
    standing, ends = entries.standing(span_of(now), grace), entries.ends
    found = []
    turns = [(Turn.LEAVES_GRACE, ends + grace)]
    if grace > 0:
        turns.insert(0, (Turn.ENDS, ends))
    for turn, moments in turns:
        soon = standing & (moments > start) & (moments <= start + within)
        found += [
            Ending(float(moments[row]), turn, entries, row)
            for row in np.flatnonzero(soon).tolist()
        ]
    return found


def by_day(found: list[Ending], now: When, within: float) -> dict[str, Any]:
    """The same fit for JSON: counts of each day (UTC) with any, and the first by name.

    `registered_until` of one that ends is when it leaves its grace.
    """
    counts: dict[str, Counter[Turn]] = {}
    for each in found:
        counts.setdefault(_day(each.at), Counter())[each.turn] += 1
    named = found[:MOST]
    return {
        "from": format_moment(round(span_of(now).latest)),
        "days_ahead": within / _DAY,
        "days": [
            {
                "day": day,
                "ends": count[Turn.ENDS],
                "leaves_grace": count[Turn.LEAVES_GRACE],
            }
            for day, count in counts.items()
        ],
        "registrations": [_named(each) for each in named],
        "more": len(found) - len(named),
    }


def _named(each: Ending) -> dict[str, Any]:
    return {
        "at": format_moment(each.at),
        "what": each.turn.value,
        "registration": each.entries.id(each.row),
        "prefix": str(each.entries.prefix(each.row)),
    }


def _day(moment: float) -> str:
    return format_moment(moment)[:_DATE]
