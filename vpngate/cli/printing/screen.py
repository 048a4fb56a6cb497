# SPDX-License-Identifier: GPL-2.0-or-later
"""The terminal, where stdout is one that can be drawn on; only this file knows rich.

Knows when there is one (no pipe, no file, no `TERM=dumb`), tables and rows of names and
values on it; does not know what they are about. Text is shown as it is: nothing in it
is markup, and what would command the terminal is escaped before (`plain`).

Colours follow NO_COLOR (no-color.org), as rich does.
"""

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import TYPE_CHECKING, TextIO

from vpngate.plaintext import plain

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

LONGEST = 4000  # characters of a cell
_CANNOT_DRAW = {"", "dumb", "unknown"}
# How a word looks, by what it means.
GOOD, BAD, WARNING, FAINT, HEAD = "green", "bold red", "yellow", "dim", "bold"


def is_screen(stream: TextIO | None = None) -> bool:
    """Whether a stream (by default stdout) is a terminal that can be drawn on."""
    there = (stream or sys.stdout).isatty()
    return there and os.environ.get("TERM", "") not in _CANNOT_DRAW


def console() -> "Console":
    """The terminal behind stdout."""
    # Half a tenth of a second to import, which a pipe need not wait for.
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False)


def table(
    heading: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = ()
) -> "Table":
    """A table as wide as it needs; where that is too wide, cells are folded.

    `styles` are of the rows, as many as are given. Without a heading there is none.
    """
    from rich.table import Table
    from rich.text import Text

    made = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style=HEAD,
        show_header=bool(heading),
    )
    for name in heading or [""] * max(map(len, rows), default=0):
        made.add_column(Text(plain(name)), overflow="fold")
    for row, style in zip_longest(rows, styles[: len(rows)], fillvalue=""):
        made.add_row(*(Text(plain(cell, LONGEST)) for cell in row), style=style)
    return made


def grid(rows: Sequence[tuple[str, str, str]]) -> "Table":
    """Names, values beside them, and how each value looks."""
    from rich.table import Table
    from rich.text import Text

    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style=FAINT, no_wrap=True)
    made.add_column(overflow="fold")
    for name, value, style in rows:
        made.add_row(Text(plain(name)), Text(plain(value, LONGEST), style=style))
    return made


def draw(*parts: "RenderableType") -> None:
    """Print to the terminal."""
    screen = console()
    for part in parts:
        screen.print(part)


def redraw(views: Iterable[Sequence["RenderableType"]]) -> None:
    """Show one view after the other in the same place, on a screen of its own.

    What does not fit below is cut. The terminal is as it was afterwards, also where an
    exception ends it, or SIGTERM.
    """
    from rich.console import Group
    from rich.live import Live

    with (
        _left_in_order(),
        Live(console=console(), screen=True, auto_refresh=False) as live,
    ):
        for view in views:
            live.update(Group(*view), refresh=True)


@contextmanager
def _left_in_order() -> Iterator[None]:
    """Have SIGTERM end the program by an exception, so that what is open is left."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
