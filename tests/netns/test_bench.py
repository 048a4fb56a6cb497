# SPDX-License-Identifier: GPL-2.0-or-later
"""Every row of the bench comes to its end, at its smallest: no figure is looked at."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.result import from_json
from bench.rows import NAMES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", NAMES)
def test_a_row_comes_to_its_end(name: str, tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    command = [sys.executable, "-m", "bench", "--tiny", "--only", name]
    done = subprocess.run(
        [*command, "--json", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = from_json(path.read_text()).rows
    assert row.name == name
    assert row.items
