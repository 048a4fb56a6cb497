# SPDX-License-Identifier: GPL-2.0-or-later
"""Options of the test run."""

from pathlib import Path

import pytest
from hypothesis import settings

# The same examples each time: a test that fails one day in thirty tells nobody what
# their change broke. New ones are looked for by `make fuzz`.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--corpus",
        type=Path,
        metavar="DIR",
        help="labelled captures to classify and score: captures/, score.py, ...",
    )
    parser.addoption(
        "--peers",
        type=Path,
        metavar="DIR",
        help="the same of peers in many settings; scored by the score.py of --corpus",
    )
