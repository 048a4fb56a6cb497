# SPDX-License-Identifier: GPL-2.0-or-later
"""Moments and spans of time, and how they are written.

Knows ISO 8601 dates and that a clock may be in doubt; does not know what time it
is. A moment is a number of seconds since the epoch.
"""

import math
from datetime import UTC, date, datetime, time
from typing import NamedTuple

ALWAYS = -math.inf
NEVER = math.inf

_FIRST_WRITTEN = datetime(1, 1, 1, tzinfo=UTC).timestamp()
_LAST_WRITTEN = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()


class Span(NamedTuple):
    """The present, as far as it can be told: some moment from one to the other."""

    earliest: float
    latest: float


EVER = Span(ALWAYS, NEVER)
# What is asked of a registry at a moment is granted if it holds anywhere in a span.
When = float | Span


def span_of(now: When) -> Span:
    """A moment as the span of itself."""
    return now if isinstance(now, Span) else Span(now, now)


def parse_moment(text: str) -> float:
    """A moment from `2026-12-31T18:00:00+01:00`; a bare date is UTC midnight.

    ValueError says what is wrong.
    """
    if len(text) <= len("2026-12-31"):
        try:
            return datetime.combine(date.fromisoformat(text), time(), UTC).timestamp()
        except ValueError:
            pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a date like 2026-12-31 or 2026-12-31T18:00:00Z"
        ) from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no zone; write {text + 'Z'!r} if it is UTC")
    return moment.timestamp()


def format_moment(moment: float) -> str:
    """A moment in UTC, as ISO 8601 writes it; the inverse of `parse_moment`.

    What lies beyond the years 1 to 9999 (an end on 9999-12-31, and its grace) is
    shown as the last moment that can be written.
    """
    moment = min(max(moment, _FIRST_WRITTEN), _LAST_WRITTEN)
    text = datetime.fromtimestamp(moment, UTC).isoformat()
    return text.removesuffix("+00:00") + "Z"
