# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables for people: drawn on a terminal, else columns as wide as their widest cell.

Knows alignment; does not know what is in a cell.
"""

from collections.abc import Iterator, Sequence

from vpngate.cli.printing import screen
from vpngate.plaintext import plain


def show_table(
    heading: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = ()
) -> None:
    """Print a table; `styles` of its rows are for a terminal."""
    if screen.is_screen():
        screen.draw(screen.table(heading, rows, styles))
        return
    for line in aligned([heading, *rows] if heading else rows):
        print(plain(line, screen.LONGEST))


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows as lines, their columns two blanks apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
