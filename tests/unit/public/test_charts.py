# SPDX-License-Identifier: GPL-2.0-or-later
"""Columns are as high as their numbers, and what is not known is a gap."""

import pytest

from vpngate.public import charts


def test_the_highest_fills_the_chart_and_the_least_can_be_seen() -> None:
    path = charts.columns([1, 0, None, 1000, 500])
    assert path == "M0 40v-1h3V40zM12 40v-40h3V40zM16 40v-20h3V40z"
    assert charts.width([1, 0, None, 1000, 500]) == 20


@pytest.mark.parametrize("values", [[], [0, 0], [None, None]])
def test_nothing_draws_no_column(values: list[int | None]) -> None:
    assert charts.columns(values) == ""
    assert charts.most(values) == charts.total(values) == 0


def test_each_stretch_that_is_not_known_is_marked() -> None:
    assert charts.gaps([None, None, 3, None]) == "M0 39h8v1H0zM12 39h4v1H12z"
    assert charts.gaps([1, 2]) == ""


def test_sums_know_what_is_not_known() -> None:
    assert charts.together([[1, None, None], [2, 5, None]]) == [3, 5, None]
    assert charts.in_parts([1, 2, None, None, 0, None], 3) == [3, None, 0]
    assert charts.total([1, None, 2]) == 3
