# SPDX-License-Identifier: GPL-2.0-or-later
"""A run as a table for a terminal."""

from bench.result import Result, RowResult
from bench.words import caveats, cells, phases

_HEADS = ("figure", "ours", "beside", "ratio", "bound")


def told(row: RowResult) -> str:
    """One line when a row is done."""
    ended = f"failed: {row.failed}" if row.failed else f"{len(row.items)} figures"
    return f"{row.name}: {ended}, {row.seconds:.0f} s"


def table(result: Result) -> str:
    """All of it."""
    grid: list[tuple[str, ...]] = []
    for row in result.rows:
        grid += [(row.title,), *map(cells, row.items)]
        if row.failed:
            grid.append((f"  FAILED: {row.failed}",))
    body = [line for line in grid if len(line) > 1]
    widths = [max(map(len, column)) for column in zip(_HEADS, *body, strict=True)]
    lines = [_line(_HEADS, widths), _line(tuple("-" * w for w in widths), widths)]
    lines += [line[0] if len(line) == 1 else _line(line, widths) for line in grid]
    lines += ["", phases(result.noises), *caveats(result)] if result.rows else []
    return "\n".join(lines) + "\n"


def _line(words: tuple[str, ...], widths: list[int]) -> str:
    pairs = zip(words, widths, strict=True)
    return "  ".join(word.ljust(width) for word, width in pairs).rstrip()
