# SPDX-License-Identifier: GPL-2.0-or-later
"""How results are printed, whatever is in them."""

import json

import pytest

from vpngate.cli import options

ODD = "lan\x1b[2J\u202e\u2028\x85\ud800"


def test_lines_for_people_command_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options.show("table", None, lambda: [f"interface  {ODD}", "b" * 10_000])
    out = capsys.readouterr().out
    assert out.splitlines() == [
        r"interface  lan\x1b[2J\u202e\u2028\x85\ud800",
        "b" * 4000 + "...",
    ]


def test_a_line_for_programs_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    options.show("json", {"interface": ODD}, list)
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"interface": ODD}
