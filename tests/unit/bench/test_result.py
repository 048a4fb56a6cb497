# SPDX-License-Identifier: GPL-2.0-or-later
"""The file that keeps a run."""

import json

import pytest

from bench.result import Unreadable, from_json, to_json
from tests.unit.bench.found import EVERYTHING


def test_a_run_comes_back_as_it_was() -> None:
    assert from_json(to_json(EVERYTHING)) == EVERYTHING


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "no JSON",
        to_json(EVERYTHING).replace('"format": 1', '"format": 2'),
        to_json(EVERYTHING).replace('"noise"', '"silence"'),
        to_json(EVERYTHING).replace('"whole"', '"huge"'),
        to_json(EVERYTHING).replace('"ours"', '"mine"'),
    ],
)
def test_what_is_no_run_is_told_as_such(text: str) -> None:
    with pytest.raises(Unreadable):
        from_json(text)


def test_the_file_has_what_its_description_names() -> None:
    page = json.loads(to_json(EVERYTHING))
    assert page["rows"][0]["items"][0]["ours"] == [1, 2, 3]
    assert page["rows"][0]["noise"]["after"]["processor"] == [5.0, 5.1, 5.0]
    assert page["rows"][1]["failed"].startswith("ValueError")
