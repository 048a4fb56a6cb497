# SPDX-License-Identifier: GPL-2.0-or-later
"""Quantities, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpngate.units import (
    format_duration,
    format_rate,
    parse_duration,
    parse_rate,
    parse_share,
)


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("512kbit", 512_000),
        ("5mbit", 5_000_000),
        ("1.5gbit", 1_500_000_000),
        (" 7 Mbit ", 7_000_000),
        ("9bit", 9),
    ],
)
def test_rates(text: str, bits: int) -> None:
    assert parse_rate(text) == bits


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("10m", 600), ("72h", 259_200), ("7d", 604_800)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "share"), [("5%", 0.05), ("100%", 1), ("0.5%", 0.005)]
)
def test_shares(text: str, share: float) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "mbit",
        "-5mbit",
        "5 mbps",
        "5kbit 3",
        "1e3kbit",
        "\u0665mbit",
        "5mbit\n;",
    ],
)
def test_a_bad_rate_says_what_would_be_right(text: str) -> None:
    with pytest.raises(ValueError, match=r"\(bit, kbit, mbit, gbit\), like 5mbit"):
        parse_rate(text)


def test_other_bad_quantities() -> None:
    with pytest.raises(ValueError, match="too large"):
        parse_rate("9" * 400 + "mbit")
    with pytest.raises(ValueError, match=r"'3 weeks' is not .*like 72h"):
        parse_duration("3 weeks")
    with pytest.raises(ValueError, match="like 5%"):
        parse_share("0.05")
    with pytest.raises(ValueError, match="'101%' is more than 100%"):
        parse_share("101%")


@pytest.mark.parametrize(
    ("bits", "text"), [(512_000, "512kbit"), (1_500_000, "1500kbit"), (0, "0bit")]
)
def test_rates_are_spelled_exactly(bits: int, text: str) -> None:
    assert format_rate(bits) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(90, "90s"), (3600, "1h"), (0.25, "250ms"), (0, "0s"), (0.0001, "0ms")],
)
def test_durations_are_spelled_exactly(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 10**13))
def test_a_rate_survives_both_ways(bits: int) -> None:
    assert parse_rate(format_rate(bits)) == bits


@given(st.integers(0, 10**10))
def test_a_duration_survives_both_ways(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds)
