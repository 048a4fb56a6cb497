# SPDX-License-Identifier: GPL-2.0-or-later
"""tests/run-steps runs every step, two rows side by side, and tells what failed."""

import os
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.house import ROOT

# `met` and `other` wait for each other: one after the other they would not end.
MAKEFILE = """
good: ; @echo all is well
bad: ; @echo something is not; echo "test_of_it" >>"$$VPNGATE_FAILED"; exit 1
met: ; @echo begun >met; read -r line <other
other: ; @read -r line <met; echo begun >other
niceness: ; @nice
endless: ; @echo $$$$ >begun; exec sleep 600
"""
PATIENCE = 60.0  # seconds


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "run-steps", tmp_path / "tests")
    (tmp_path / "Makefile").write_text(MAKEFILE)
    for name in ("met", "other", "begun"):
        os.mkfifo(tmp_path / name)
    return tmp_path


def run(folder: Path, *steps: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [folder / "tests" / "run-steps", *steps],
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("steps", [("bad", "good"), ("good", "--", "bad", "good")])
def test_all_steps_run_and_what_failed_comes_last(
    folder: Path, steps: tuple[str, ...]
) -> None:
    status, told = run(folder, *steps)
    assert status == 1
    assert told.count("all is well") == steps.count("good")
    assert told[-2:] == ["== failed: bad", "test_of_it"]


def test_where_nothing_fails_nothing_is_told_to(folder: Path) -> None:
    status, told = run(folder, "good", "--", "good")
    assert status == 0
    kinds = Counter(line.partition(":")[0] for line in told)
    assert kinds == {"all is well": 2, "-- good": 2}


def test_rows_of_steps_run_side_by_side(folder: Path) -> None:
    assert run(folder, "met", "--", "other")[0] == 0


def test_the_first_row_comes_first(folder: Path) -> None:
    _, told = run(folder, "niceness")
    _, beside = run(folder, "good", "--", "niceness")
    (own,) = (int(line) for line in told if line.isdecimal())
    (other,) = (int(line) for line in beside if line.isdecimal())
    assert other == min(own + 10, 19)


@pytest.mark.parametrize("steps", [("endless",), ("met", "--", "endless")])
def test_whoever_ends_it_ends_what_runs(folder: Path, steps: tuple[str, ...]) -> None:
    command = [str(folder / "tests" / "run-steps"), *steps]
    # As a terminal does it: a process group, which the signal goes to.
    with subprocess.Popen(command, process_group=0) as running:
        pid = int((folder / "begun").read_text())
        os.killpg(running.pid, signal.SIGINT)
        running.wait(PATIENCE)
    assert running.returncode != 0
    ended = subprocess.run(
        ["tail", f"--pid={pid}", "-f", os.devnull], check=False, timeout=PATIENCE
    )
    assert ended.returncode == 0
