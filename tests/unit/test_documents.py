# SPDX-License-Identifier: GPL-2.0-or-later
"""Every block of commands in the documents is typed by a test, or says why not."""

import pytest

from tests.documents import NOT_RUN, RUN_BY, Block, blocks, missing
from tests.house import ROOT

SHOWN = ("TUNNEL  FLOWS", "wireguard  3  ...  throttle")


def test_every_block_of_commands_is_typed_by_somebody() -> None:
    shown = {block.place for block in blocks("console", "sh", "bash", "shell")}
    assert shown == {*RUN_BY, *NOT_RUN}
    assert not RUN_BY.keys() & NOT_RUN.keys()
    assert len(NOT_RUN) <= 3
    assert all((ROOT / path).is_file() for path in RUN_BY.values())


def test_lines_are_read_with_their_end_and_what_they_print() -> None:
    text = "# one two  # a comment, status 1\nthis\nthat\n$ three\n"
    first, second = Block("d", "h", "console", text).typed()
    assert first == ("one two", True, 1, ("this", "that"))
    assert second == ("three", False, 0, ())


@pytest.mark.parametrize(
    ("printed", "lacks"),
    [
        ("TUNNEL FLOWS\nwireguard    12  A B throttle\n", ""),
        ("more\nTUNNEL   FLOWS\nother\nwireguard 1 - throttle -\nmore\n", ""),
        ("TUNNEL FLOWS\nwireguard x - throttle\n", SHOWN[1]),
        ("wireguard 1 - throttle\nTUNNEL FLOWS\n", SHOWN[1]),
        ("", SHOWN[0]),
    ],
)
def test_what_is_shown_has_to_be_printed_in_its_order(printed: str, lacks: str) -> None:
    assert missing(SHOWN, printed) == lacks
