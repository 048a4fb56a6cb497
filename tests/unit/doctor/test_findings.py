# SPDX-License-Identifier: GPL-2.0-or-later
"""The order of findings, and what they come to."""

import pytest

from vpngate.doctor.findings import (
    Finding,
    Weight,
    few,
    in_order,
    is_able,
    summary,
)


def of(*weights: Weight) -> list[Finding]:
    return [Finding(weight, f"place {n}", "what") for n, weight in enumerate(weights)]


def test_the_worst_comes_first_and_equals_stay() -> None:
    found = in_order(of(Weight.SOUND, Weight.COST, Weight.MISSING, Weight.COST))
    assert [finding.where for finding in found] == [
        "place 2",
        "place 1",
        "place 3",
        "place 0",
    ]


@pytest.mark.parametrize(
    ("weights", "able", "words"),
    [
        ([Weight.SOUND], True, "can do its whole job here (1 sound)"),
        (
            [Weight.COST, Weight.SOUND, Weight.COST],
            True,
            "can do its whole job here (2 costs, 1 sound)",
        ),
        (
            [Weight.UNKNOWN],
            True,
            "can do its whole job here, as far as could be looked at (1 unknown)",
        ),
        ([Weight.CONFLICT], False, "cannot do its whole job here (1 conflict)"),
        (
            [Weight.UNKNOWN, Weight.MISSING],
            False,
            "cannot do its whole job here (1 missing, 1 unknown)",
        ),
    ],
)
def test_the_answer(weights: list[Weight], able: bool, words: str) -> None:  # noqa: FBT001
    findings = of(*weights)
    assert is_able(findings) is able
    assert summary(findings) == f"vpngate {words}"


def test_one_line_leaves_out_what_there_is_not() -> None:
    assert Finding(Weight.COST, "x", "a", "b", "c").text == "a; b; c"
    assert Finding(Weight.COST, "x", "a", remedy="c").text == "a; c"
    assert Finding(Weight.SOUND, "x", "a").text == "a"


def test_many_names_are_not_all_told() -> None:
    assert few(["a", "b", "c", "d"]) == "a, b, c, d"
    assert few(["a", "b", "c", "d", "e", "f"]) == "a, b, c, d and 2 more"
