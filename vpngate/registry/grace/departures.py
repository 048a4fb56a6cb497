# SPDX-License-Identifier: GPL-2.0-or-later
"""Who would no longer be registered in the next registry, and the grace they get.

Knows two registries and the time; does not know whether the new one may be used
(`guard.py`), or how the departed are remembered (`persistence.py`).

A prefix is judged by its addresses, not by its row: one that is cut in two, merged
into a larger one, or moved to another registration has lost nothing. One that is
still there, with dates that no longer hold, has.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from vpngate.prefixes.intervals import Intervals
from vpngate.prefixes.rows import Flags
from vpngate.registry.columns.entries import Entries, Row, draw_up
from vpngate.registry.registry import Registry, Unread
from vpngate.timekeeping.moments import NEVER, Span, When, span_of


def carry_over(old: Registry, new: Registry, grace: float, now: When) -> Registry:
    """Returns the new registry, together with what only the old one had.

    A registration that was in force and is missing now stays for `grace` seconds, or
    for as long as a rejected row may be about it. One that was in its grace already
    keeps what is left of that grace.
    """
    span = span_of(now)
    new = replace(new, grace=grace)
    in_force, standing = new.in_force(span), new.covered(span)
    rows = []
    for entries in _all(old):
        missing = entries.standing(span, grace)
        missing &= ~in_force.covers_each(entries.bounds)
        fresh = entries.standing(span, 0.0)
        missing &= fresh | ~standing.covers_each(entries.bounds)
        rows += list(_leaving(entries, missing, new.unread, span))
    return replace(new, kept=draw_up(rows))


def in_force_count(registry: Registry, now: When) -> int:
    """Returns how many registrations are in force without any grace."""
    span = span_of(now)
    return sum(
        int(np.count_nonzero(_in_force(entries, span))) for entries in _all(registry)
    )


def removed_count(old: Registry, new: Registry, now: When) -> int:
    """How many registrations are in force in the old registry, and not in the new.

    Those that a rejected row may be about do not count: they stay. Neither do those
    that have left before: also where a clock that was ahead says that they have not.
    """
    span = span_of(now)
    in_force = new.in_force(span)
    return sum(
        len(_unheld(entries, _lost(entries, in_force, span), new.unread))
        for entries in _all(old)
    )


def _all(registry: Registry) -> Iterator[Entries]:
    yield from registry.current
    yield from registry.kept


def _in_force(entries: Entries, span: Span) -> Flags:
    return entries.standing(span, 0.0) & ~entries.left


def _lost(entries: Entries, in_force: Intervals, span: Span) -> Flags:
    return _in_force(entries, span) & ~in_force.covers_each(entries.bounds)


def _unheld(entries: Entries, chosen: Flags, unread: Unread) -> list[int]:
    """Returns those of the chosen rows that no rejected row can be about."""
    if unread.anyone:
        return []
    rows: list[int] = np.flatnonzero(chosen).tolist()
    if unread == Unread():
        return rows
    return [
        row for row in rows if not unread.holds(entries.prefix(row), entries.id(row))
    ]


def _leaving(
    entries: Entries, chosen: Flags, unread: Unread, span: Span
) -> Iterator[Row]:
    for row in np.flatnonzero(chosen).tolist():
        prefix, name, terms = entries.row(row)
        if unread.holds(prefix, name):
            gone = NEVER
        else:
            # Not later than now: a clock that was ahead once adds no grace.
            gone = min(terms.gone_since, span.latest)
        yield Row(prefix, name, terms._replace(gone_since=gone))
