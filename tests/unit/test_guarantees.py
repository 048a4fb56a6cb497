# SPDX-License-Identifier: GPL-2.0-or-later
"""The tests that docs/guarantees.md names are there, and every promise has one.

Knows how the page names them; does not know what they show.
"""

import ast
import re

import pytest

from tests.house import ROOT

_PAGE = (ROOT / "docs" / "guarantees.md").read_text()
_NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
_ROWS = [
    line
    for line in _PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| promise |")
]


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_each_promise_is_shown_by_a_test_that_exists(row: str) -> None:
    promise, against, how, shown = (cell.strip() for cell in row.split("|")[1:-1])
    assert promise
    assert against
    assert how
    named = _NAMED.findall(shown)
    assert named
    assert _NAMED.sub("", shown).strip(", ") == "", "nothing but tests"
    for file, name in named:
        tree = ast.parse((ROOT / "tests" / file).read_text())
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        assert name in {n.name for n in ast.walk(tree) if isinstance(n, functions)}


def test_the_page_has_promises() -> None:
    assert len(_ROWS) > 40
