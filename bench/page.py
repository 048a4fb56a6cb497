# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/performance.md, and the plots beside it, from what a run found and nothing else.

Knows Markdown and where the page's files lie; does not know how anything is measured.
"""

from collections.abc import Sequence
from pathlib import Path

from bench import words
from bench.plots import Plot, plots
from bench.result import Result, RowResult, from_json, to_json

PAGE = "performance.md"
FOLDER = "performance"
FIGURES = f"{FOLDER}/figures.json"
_MOST_SAID = 6  # figures, of an alternative text

_HEAD = """\
# How fast, and how much

This page was written by `make bench` (a quiet machine, root, some 40 minutes), from
[the figures of one run]({figures}). `python -m bench.compare A.json B.json` tells how
far two runs are apart.

What is compared took turns on the same machine (A B A B ...): a ratio is the median of
what ours took, turn by turn, to what the other took beside it, with its quartiles in
brackets. Figures without anything beside them depend on the machine.
"""
_FORM = """\
## The file

What each part of [{figures}]({figures}) means is told in `bench/result.py`.
"""


def files(result: Result) -> dict[str, str]:
    """The page, its plots and its figures: text by path below docs/."""
    drawn = {row.name: plots(row) for row in result.rows}
    found = {
        f"{FOLDER}/{name}.svg": svg
        for of_row in drawn.values()
        for name, _, svg in of_row
    }
    parts = [
        _HEAD.format(figures=FIGURES),
        _run(result),
        *(_row(row, drawn[row.name]) for row in result.rows),
        _FORM.format(figures=FIGURES),
    ]
    return {PAGE: "\n".join(parts), FIGURES: to_json(result), **found}


def write(result: Result, docs: Path) -> None:
    """Write them, and remove plots of runs before."""
    wanted = files(result)
    (docs / FOLDER).mkdir(exist_ok=True)
    for old in (docs / FOLDER).glob("*.svg"):
        if f"{FOLDER}/{old.name}" not in wanted:
            old.unlink()
    for name, text in wanted.items():
        (docs / name).write_text(text)


def written(docs: Path) -> Result:
    """The run that the page tells of."""
    return from_json((docs / FIGURES).read_text())


def _run(result: Result) -> str:
    lines = ["## This run", ""]
    lines += [f"**{line}**" for line in words.caveats(result)]
    lines += [
        "",
        f"{result.began}, {result.seconds / 60:.0f} minutes.",
        "",
        *_grid([("", ""), *result.machine.items()]),
        "",
    ]
    if result.rows:
        lines += [words.phases(result.noises), ""]
    return "\n".join(lines)


def _row(row: RowResult, drawn: list[Plot]) -> str:
    lines = [f"## {row.title}", ""]
    if row.about:
        lines += [row.about, ""]
    if row.failed:
        lines += [f"**It did not come to its end: {_safe(row.failed)}**", ""]
    for name, alt, _ in drawn:
        # The plot itself says all of it, and so does the table.
        short = alt if alt.count(";") < _MOST_SAID else alt.partition(". ")[0]
        lines += [f"![{short}]({FOLDER}/{name}.svg)", ""]
    if row.figures:
        heads = ("figure", "ours", "beside", "ratio", "bound")
        lines += _grid([heads, *map(words.cells, row.figures)])
        lines.append("")
    if row.curves:
        heads = ("what grows", "from, to", "over", "exponent", "bound")
        lines += _grid([heads, *map(words.cells, row.curves)])
        lines.append("")
    notes = [f"{item.name}: {item.note}" for item in row.items if item.note]
    lines += [f"- {note}" for note in notes]
    if notes:
        lines.append("")
    lines += [f"`{row.name}`, {row.seconds:.0f} s.", ""]
    return "\n".join(lines)


def _grid(rows: Sequence[tuple[str, ...]]) -> list[str]:
    head, *body = [
        "| " + " | ".join(_safe(cell) for cell in row) + " |" for row in rows
    ]
    return [head, "|" + "---|" * len(rows[0]), *body]


def _safe(text: str) -> str:
    return text.replace("|", "\\|")
