# SPDX-License-Identifier: GPL-2.0-or-later
"""Lint, format and types are part of the tests.

Knows the commands; pyproject.toml holds their settings.
"""

import subprocess
import sys

import pytest

from tests.house import ROOT


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "--quiet"],
        ["ruff", "format", "--check", "--quiet"],
        ["mypy"],
    ],
    ids=" ".join,
)
def test_linter(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
