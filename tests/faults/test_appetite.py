# SPDX-License-Identifier: GPL-2.0-or-later
"""However a registry is made to hurt, it costs little, and can be put down at once."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.faults.appetite import INPUTS
from tests.house import ROOT

MAX_PEAK = 600.0  # MB, the making of the input included
MAX_REACTION = 1.0  # seconds of CPU: others may have it meanwhile

RATIO = "registry: unpacks to more than 100 times its size"
VALUE = "line 1: not JSON: a value is longer than 1048576 characters"
BAD_ROWS = "registry: has more than 100000 bad rows"
NOTHING = "0 registrations"  # read to its end; the guard refuses an empty registry

OUTCOMES = {
    "one line": RATIO,
    "one line, unpacked": NOTHING,
    "one comment": RATIO,
    "one comment, unpacked": NOTHING,
    "blanks": RATIO,
    "empty lines": RATIO,
    "empty lines, unpacked": "registry: has more than 8000000 lines",
    "commas": RATIO,
    "commas, unpacked": NOTHING,
    "quotes, unpacked": NOTHING,
    "bad rows, unpacked": BAD_ROWS,
    "lines of a mebibyte": "registry: unpacks to more than 512000000 bytes",
    "comments of a mebibyte": "registry: unpacks to more than 512000000 bytes",
    "empty members": "registry: has more than 16384 members",
    "padding": NOTHING,
    "one text": RATIO,
    "one text, unpacked": VALUE,
    "one number": RATIO,
    "one number, unpacked": VALUE,
    "one list, unpacked": VALUE,
    "lists in lists": "line 1: not JSON: maximum recursion depth",
    "objects, unpacked": BAD_ROWS,
    "keys": "line 1: not JSON: more than 64 keys beside each other",
    "keys of one row": NOTHING,
    "spaces": "line 1: not JSON: Expecting value",
    "the largest registry": "2000000 registrations",
}


def measured(name: str, *cancel: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.appetite", name, *cancel],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    print(name, found)  # noqa: T201 - shown with -rP
    return found


def test_every_input_has_its_row() -> None:
    assert OUTCOMES.keys() == INPUTS.keys()


@pytest.mark.parametrize("name", OUTCOMES)
def test_its_outcome_and_its_peak(name: str) -> None:
    found = measured(name)
    assert str(found["outcome"]).startswith(OUTCOMES[name])
    assert found["peak"] < MAX_PEAK


@pytest.mark.parametrize(
    "name",
    [
        *("empty lines, unpacked", "bad rows, unpacked", "objects, unpacked"),
        "lines of a mebibyte",
    ],
)
def test_it_is_put_down_within_a_second(name: str) -> None:
    found = measured(name, "0.1")
    assert found["outcome"] == "put down"
    assert found["reaction"] < MAX_REACTION
