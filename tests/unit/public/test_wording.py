# SPDX-License-Identifier: GPL-2.0-or-later
"""Quantities as people say them."""

import pytest

from vpngate.public import wording
from vpngate.timekeeping.moments import format_moment


@pytest.mark.parametrize(
    ("bits", "said"),
    [
        (0, "0 bit/s"),
        (999.4, "999 bit/s"),
        (999.6, "1 kbit/s"),
        (999_400, "999 kbit/s"),
        (999_600, "1 Mbit/s"),
        (999_999_999, "1 Gbit/s"),
        (999.6e9, "1,000 Gbit/s"),
        (512_000, "512 kbit/s"),
        (5_000_000, "5 Mbit/s"),
        (9_876_543, "9.88 Mbit/s"),
        (40e9, "40 Gbit/s"),
        (1.234e13, "12,340 Gbit/s"),
    ],
)
def test_rates(bits: float, said: str) -> None:
    assert wording.rate(bits) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "less than a second"),
        (1, "1 second"),
        (60, "1 minute"),
        (3600, "1 hour"),
        (90_000, "25 hours"),
        (172_800, "48 hours"),
        (259_200, "3 days"),
    ],
)
def test_spans(seconds: float, said: str) -> None:
    assert wording.span(seconds) == said


def test_moments_and_numbers() -> None:
    assert wording.moment("2026-11-26T17:05:59Z") == "26 November 2026, 17:05 UTC"
    for far in (-1e18, 1e18):  # the first and the last that can be written
        assert wording.moment(format_moment(far)).endswith(" UTC")
    assert wording.number(1234567) == "1,234,567"
    assert wording.amount(1_230_000) == "1.23 MB"
