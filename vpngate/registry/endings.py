# SPDX-License-Identifier: GPL-2.0-or-later
"""Which registrations end, or leave their grace, in the time to come.

Knows the two moments that matter of each; does not know who is told.
"""

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from vpngate.registry.columns.entries import Entries
from vpngate.registry.columns.terms import Moments
from vpngate.registry.columns.tree import Places
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


class Endings(NamedTuple):
    """Endings in columns, the soonest first: a million are no objects.

    at     when, in seconds since the epoch
    part   which of `parts` it is about
    row    of the part's entries
    """

    at: Moments
    part: Places
    row: Places
    parts: Sequence[tuple[Turn, Entries]]

    def first(self, most: int) -> list[Ending]:
        """The first of them, by name."""
        columns = [each[:most].tolist() for each in (self.at, self.part, self.row)]
        named = []
        for at, part, row in zip(*columns, strict=True):
            turn, entries = self.parts[part]
            named.append(Ending(at, turn, entries, row))
        return named

    def days(self) -> dict[str, Counter[Turn]]:
        """How many of each kind on each day (UTC) that has any."""
        found: dict[str, Counter[Turn]] = {}
        leaves = [turn is Turn.LEAVES_GRACE for turn, _ in self.parts]
        kinds = np.array(leaves, np.int64)[self.part]
        days = np.floor(self.at / _DAY).astype(np.int64)
        counted = np.unique(2 * days + kinds, return_counts=True)
        for key, count in zip(*(each.tolist() for each in counted), strict=True):
            turn = Turn.LEAVES_GRACE if key % 2 else Turn.ENDS
            day = format_moment(key // 2 * _DAY)[:_DATE]
            found.setdefault(day, Counter())[turn] += count
        return found


def endings(registry: Registry, now: When, within: float) -> Endings:
    """Those of the next `within` seconds, the soonest first.

    Where there is no grace a registration that ends is named once, as leaving it.
    """
    start, grace = span_of(now).latest, registry.grace
    turns = [(Turn.LEAVES_GRACE, grace)]
    if grace > 0:
        turns.insert(0, (Turn.ENDS, 0.0))
    parts, at, row = [], [np.empty(0)], [np.empty(0, np.int64)]
    for entries in (*registry.current, *registry.kept):
        standing, ends = entries.standing(span_of(now), grace), entries.ends
        for turn, later in turns:
            moments = ends + later
            soon = standing & (moments > start) & (moments <= start + within)
            parts.append((turn, entries))
            at.append(moments[soon])
            row.append(np.flatnonzero(soon))
    part = np.repeat(np.arange(len(parts)), [len(each) for each in at[1:]])
    moments, rows = np.concatenate(at), np.concatenate(row)
    order = np.lexsort((rows, moments))
    return Endings(moments[order], part[order], rows[order], parts)


def by_day(found: Endings, now: When, within: float) -> dict[str, Any]:
    """The same fit for JSON: counts of each day (UTC) with any, and the first by name.

    `registered_until` of one that ends is when it leaves its grace.
    """
    named = found.first(MOST)
    return {
        "from": format_moment(round(span_of(now).latest)),
        "days_ahead": within / _DAY,
        "days": [
            {
                "day": day,
                "ends": count[Turn.ENDS],
                "leaves_grace": count[Turn.LEAVES_GRACE],
            }
            for day, count in found.days().items()
        ],
        "registrations": [_named(each) for each in named],
        "more": len(found.at) - len(named),
    }


def _named(each: Ending) -> dict[str, Any]:
    return {
        "at": format_moment(each.at),
        "what": each.turn.value,
        "registration": each.entries.id(each.row),
        "prefix": str(each.entries.prefix(each.row)),
    }
