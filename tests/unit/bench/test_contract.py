# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures and curves: what they come to, and what is none."""

import pytest

from bench.contract import (
    MOST_TURNS,
    Curve,
    Effort,
    Figure,
    as_data,
    condensed,
    from_data,
    summary,
)
from tests.unit.bench.found import ALONE, CURVE, MISSED, RATIO


def test_a_ratio_is_taken_turn_by_turn() -> None:
    one = Figure("x", "s", "ours", [1, 20, 3], "theirs", [2, 10, 3])
    assert one.ratio is not None
    assert one.ratio.median == 1.0  # of 0.5, 2 and 1: not that of the medians, 1.5
    assert (one.ratio.low, one.ratio.high) == (0.75, 1.5)
    assert one.ratio.spread == 0.75


@pytest.mark.parametrize(
    ("at_most", "at_least", "holds"),
    [
        (1.0, None, True),
        (0.9, None, False),
        (None, 1.0, True),
        (None, 1.1, False),
        (1.1, 0.9, True),
        (1.1, 1.05, False),
        (None, None, None),
    ],
)
def test_bounds_are_of_the_ratio_where_there_is_one(
    at_most: float | None,
    at_least: float | None,
    holds: bool | None,  # noqa: FBT001 - pytest hands it over by name
) -> None:
    beside = Figure("x", "s", "o", [5], "t", [5], at_most, at_least)
    alone = Figure("x", "s", "o", [1.0], at_most=at_most, at_least=at_least)
    assert beside.holds is alone.holds is holds


@pytest.mark.parametrize(
    ("ours", "against", "theirs"),
    [
        ((), "", ()),
        ((1, 2), "them", (1,)),
        ((1,), "", (1,)),
        ((1,), "them", ()),
        ((1,) * (MOST_TURNS + 1), "", ()),
        ((1,), "them", (0,)),
        ((float("nan"),), "", ()),
    ],
)
def test_turns_have_to_fit(
    ours: tuple[int, ...], against: str, theirs: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="turns"):
        Figure("x", "s", "ours", ours, against, theirs)


def test_many_turns_are_condensed_without_loss_of_order() -> None:
    many = [float(n) for n in range(1000)]
    few = condensed(many, 10)
    assert len(few) == 10
    assert few == tuple(sorted(few))
    assert few[0] == 49.5
    assert condensed([1.0, 2.0], 10) == (1.0, 2.0)


def test_the_exponent_is_the_slope_of_the_logarithms() -> None:
    sizes = [10, 100, 1000]
    square = Curve("x", "s", "n", sizes, [size**2 for size in sizes], at_most=1.1)
    assert square.exponent == pytest.approx(2)
    assert square.holds is False
    assert CURVE.exponent == pytest.approx(1)
    assert CURVE.holds is True


@pytest.mark.parametrize(("x", "y"), [([1], [1]), ([1, 2], [1]), ([1, 2], [0, 1])])
def test_no_curve_for_logarithms(x: list[int], y: list[int]) -> None:
    with pytest.raises(ValueError, match="no curve"):
        Curve("x", "s", "n", x, y)


@pytest.mark.parametrize("item", [RATIO, MISSED, ALONE, CURVE])
def test_what_is_kept_comes_back(item: Figure | Curve) -> None:
    assert from_data(as_data(item)) == item


def test_an_effort_picks_its_own() -> None:
    picked = [effort.pick(whole=1, quick=2, tiny=3) for effort in Effort]
    assert picked == [1, 2, 3]


def test_no_spread_of_nothing() -> None:
    assert summary([0.0, 0.0]).spread == 0.0
