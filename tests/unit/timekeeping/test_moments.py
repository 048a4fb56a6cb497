# SPDX-License-Identifier: GPL-2.0-or-later
"""Dates as a registry writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpngate.timekeeping.moments import Span, format_moment, parse_moment, span_of


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-02", 86400),
        ("19700102", 86400),
        ("1970-01-01T01:00:00Z", 3600),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01 01:00-01:00", 7200),
        ("1970-01-01T00:00:00.250Z", 0.25),
        ("0001-01-01T00:00+14:00", -62135647200),
    ],
)
def test_dates_are_read(text: str, moment: float) -> None:
    assert parse_moment(text) == moment


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-12-31T18:00:00", "has no zone; write '2026-12-31T18:00:00Z'"),
        ("2026-02-30", "is not a date like"),
        ("31.12.2026", "is not a date like"),
        ("tomorrow", "is not a date like"),
        ("2026-12-31T25:00Z", "is not a date like"),
    ],
)
def test_what_is_no_date_says_so(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_moment(text)


@given(st.integers(-62_000_000_000, 250_000_000_000))
def test_a_moment_is_written_as_it_is_read(moment: int) -> None:
    assert parse_moment(format_moment(moment)) == moment


def test_beyond_the_calendar_its_last_day_is_written() -> None:
    """An end that means "never", and its grace: year 10000."""
    assert format_moment(parse_moment("9999-12-31") + 3 * 86_400) == (
        "9999-12-31T23:59:59Z"
    )
    assert format_moment(parse_moment("0001-01-01T00:00+14:00")) == (
        "0001-01-01T00:00:00Z"
    )


def test_a_moment_is_a_span_of_itself() -> None:
    assert span_of(5.0) == Span(5.0, 5.0)
    assert span_of(Span(1.0, 2.0)) == Span(1.0, 2.0)
