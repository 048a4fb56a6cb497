# SPDX-License-Identifier: GPL-2.0-or-later
"""Options of the test run."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--corpus",
        type=Path,
        metavar="DIR",
        help="labelled captures to classify and score: captures/, score.py, ...",
    )
