# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows that end well, fail, die or hang: the runner outlives them all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import rows, runner
from bench.contract import Curve, Effort, Figure
from bench.result import from_json
from tests.house import ROOT

ROWS = "tests.unit.bench.rows"
WHOLE_BENCH = 55 * 60  # seconds


def test_a_good_row_is_kept_whole_and_what_it_prints_is_none_of_it() -> None:
    found = runner.one(f"{ROWS}.good", Effort.QUICK)
    assert not found.failed
    assert found.title == "A good row"
    assert found.about == "It is good."
    [figure], [curve] = found.figures, found.curves
    assert figure == Figure("speed", "s", "quick", [1, 2], "theirs", [2, 2])
    assert curve == Curve("growth", "s", "flows", [1, 10], [1, 10])
    assert all(noise.middle > 0 for noise in found.noise)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("failing", "ValueError: no second figure"),
        ("dying", "it said nothing"),
        ("missing", "ModuleNotFoundError: No module named"),
        ("", "TypeError: tests.unit.bench.rows has no ROW"),
    ],
)
def test_what_was_found_before_a_failure_is_kept(name: str, why: str) -> None:
    found = runner.one(f"{ROWS}.{name}".rstrip("."), Effort.TINY)
    assert found.failed.startswith(why)
    kept = [figure.name for figure in found.figures]
    assert kept == (["kept"] if name in ("failing", "dying") else [])


def test_a_row_that_hangs_is_ended_with_what_it_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "_LEAST", 1.0)
    found = runner.one(f"{ROWS}.hanging", Effort.TINY)
    assert found.failed.startswith("not done in time")
    [left] = found.figures
    state = Path(f"/proc/{left.ours[0]:.0f}/stat")
    # A zombie has ended, too: it waits for whoever is to be told.
    assert not state.exists() or state.read_text().rpartition(") ")[2][0] == "Z"


def test_other_rows_run_when_one_fails() -> None:
    heard = []
    names = [f"{ROWS}.failing", f"{ROWS}.good"]
    found = runner.run(names, Effort.TINY, told=lambda row: heard.append(row.name))
    assert heard == names
    assert [bool(row.failed) for row in found.rows] == [True, False]
    assert found.machine["cores"] == str(os.cpu_count())


@pytest.mark.parametrize("name", rows.NAMES)
def test_each_row_has_a_module(name: str) -> None:
    row = rows.row(name)
    assert row.name == name
    assert row.title


def test_all_of_them_take_no_longer_than_promised() -> None:
    assert sum(rows.row(name).seconds for name in rows.NAMES) <= WHOLE_BENCH


def test_one_command_measures_and_keeps(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench", "--only", "lookup,second_reading"]
    command += ["--tiny", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = from_json(file.read_text())
    assert [row.name for row in found.rows] == ["lookup", "second_reading"]
    assert all(row.figures and not row.failed for row in found.rows)
    assert set(found.missing) == set(rows.NAMES) - {"lookup", "second_reading"}
    assert "hit ipv4" in done.stdout
    again = subprocess.run(
        [sys.executable, "-m", "bench", "--read", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert again.stdout == done.stdout[-len(again.stdout) :]
    assert json.loads(file.read_text())["effort"] == "tiny"


def test_a_row_that_is_none_is_refused() -> None:
    command = [sys.executable, "-m", "bench", "--only", "nothing"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no such row: nothing" in done.stderr
