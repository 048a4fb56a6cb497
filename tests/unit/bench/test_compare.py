# SPDX-License-Identifier: GPL-2.0-or-later
"""Two runs beside each other."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.compare import pairs, told
from bench.result import to_json
from tests.house import ROOT
from tests.unit.bench.found import ALONE, CURVE, MISSED, RATIO, result, row

ONE = result(row("load", RATIO, MISSED, CURVE))
OTHER = result(
    row("load", replace(RATIO, ours=[3.0] * 3), replace(MISSED, ours=[5.0]), CURVE)
)


def test_each_figure_is_told_by_what_it_comes_to() -> None:
    found, lone = pairs(ONE, OTHER)
    assert [(pair.first, pair.second) for pair in found[:2]] == [(1.0, 1.5), (4.0, 5.0)]
    assert [round(pair.apart, 9) for pair in found] == [0.5, 0.25, 0.0]
    assert not lone
    assert "median 25.0% apart, furthest 50.0% (load: a load, to nft -f)" in told(
        ONE, OTHER
    )


def test_the_same_run_is_not_apart() -> None:
    assert "median 0.0% apart" in told(ONE, ONE)


def test_nought_is_no_divisor() -> None:
    none = result(row("load", replace(ALONE, ours=[0.0])))
    assert "+inf%" in told(none, result(row("load", ALONE)))
    assert "+0.0%" in told(none, none)


@pytest.mark.parametrize(("other", "status"), [(OTHER, 0), (result(), 1), (None, 1)])
def test_status_says_whether_both_have_the_same(
    tmp_path: Path, other: object, status: int
) -> None:
    files = tmp_path / "one", tmp_path / "other"
    files[0].write_text(to_json(ONE))
    files[1].write_text(to_json(other) if other is not None else "nothing")  # type: ignore[arg-type]
    command = [sys.executable, "-m", "bench.compare", *map(str, files)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True)
    assert done.returncode == status
