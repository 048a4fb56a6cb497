# SPDX-License-Identifier: GPL-2.0-or-later
"""tests/run-steps runs every step, and tells what failed."""

import os
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.house import ROOT

MAKEFILE = """
good: ; @echo all is well
bad: ; @echo something is not; echo "test_of_it" >>"$$VPNGATE_FAILED"; exit 1
endless: ; @echo $$$$ >begun; exec sleep 600
"""
PATIENCE = 60.0  # seconds


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "run-steps", tmp_path / "tests")
    (tmp_path / "Makefile").write_text(MAKEFILE)
    os.mkfifo(tmp_path / "begun")
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


def test_all_steps_run_and_what_failed_comes_last(folder: Path) -> None:
    status, told = run(folder, "bad", "good")
    assert status == 1
    assert told.count("all is well") == 1
    assert told[-2:] == ["== failed: bad", "test_of_it"]


def test_where_nothing_fails_nothing_is_told_to(folder: Path) -> None:
    status, told = run(folder, "good", "good")
    assert status == 0
    kinds = Counter(line.partition(":")[0] for line in told)
    assert kinds == {"all is well": 2, "-- good": 2}


def test_whoever_ends_it_ends_what_runs(folder: Path) -> None:
    command = [str(folder / "tests" / "run-steps"), "endless"]
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
