# SPDX-License-Identifier: GPL-2.0-or-later
"""Text from outside ends on one line, whatever is in it."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpngate.errors import InvalidInput, Problem, VpngateError
from vpngate.plaintext import LONGEST, plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("b\u00fccher 203.0.113.0/24", "b\u00fccher 203.0.113.0/24"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\r\nb\tc\0", "a\\r\\nb\\tc\\x00"),
        ("\x7f\x85\x9b", "\\x7f\\x85\\x9b"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\u202e\u2066\u200f\ufeff", "\\u202e\\u2066\\u200f\\ufeff"),
        ("\xa0\u3000", "\\xa0\\u3000"),
        ("\udcff", "\\udcff"),
        ("\U000e0041", "\\U000e0041"),
        ("x" * (LONGEST + 1), "x" * LONGEST + "..."),
    ],
)
def test_a_text(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.slow
def test_no_character_gets_through_that_is_not_printable() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        shown = plain(character)
        assert (shown == character) == character.isprintable()
        assert shown.isprintable()


@given(st.text(), st.text(), st.text())
def test_a_problem_is_one_line_whatever_it_quotes(
    where: str, what: str, remedy: str
) -> None:
    problem = Problem(where, what, remedy)
    for error in (VpngateError(problem), InvalidInput([problem])):
        assert error.lines == [str(problem)]
        assert error.lines[0].isprintable()
    assert all(line.isprintable() for line in VpngateError(what).lines)
