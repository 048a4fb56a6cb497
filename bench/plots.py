# SPDX-License-Identifier: GPL-2.0-or-later
"""The plots of a row: ratios beside 1, values by unit, and curves.

Knows which figures go into which plot and what is said of it in words; does not know
SVG (`svg.py`).
"""

from collections.abc import Iterable

from bench.contract import Curve, Figure, summary
from bench.result import RowResult
from bench.svg import Dot, Line, dots, lines
from bench.words import number

Plot = tuple[str, str, str]  # name, alternative text, SVG


def plots(row: RowResult) -> list[Plot]:
    """Name, alternative text and SVG of each; none where there is nothing to draw."""
    found = []
    if compared := [one for one in row.figures if one.ratio is not None]:
        found.append(_ratios(row, compared))
    alone = [one for one in row.figures if one.ratio is None]
    for unit in dict.fromkeys(one.unit for one in alone):
        these = [one for one in alone if one.unit == unit]
        if len(these) > 1 and all(min(one.ours) > 0 for one in these):
            found.append(_values(row, unit, these))
    for unit, of in dict.fromkeys((one.unit, one.of) for one in row.curves):
        these_curves = [c for c in row.curves if (c.unit, c.of) == (unit, of)]
        found.append(_curves(row, unit, of, these_curves))
    return found


def _ratios(row: RowResult, figures: Iterable[Figure]) -> Plot:
    marks, said = [], []
    for one in figures:
        ratio = one.ratio
        assert ratio is not None
        label = f"{one.name}, to {one.against}"
        marks.append(Dot(label, *ratio, one.at_most, one.at_least))
        said.append(f"{label}: {number(ratio.median)}")
    title = f"{row.title}: ratios"
    alt = f"{title}. {'; '.join(said)}"
    return _name(row, "ratios"), alt, dots(title, alt, "ratio, 1: alike", marks, at=1.0)


def _values(row: RowResult, unit: str, figures: Iterable[Figure]) -> Plot:
    marks, said = [], []
    for one in figures:
        found = summary(one.ours)
        marks.append(Dot(one.name, *found, one.at_most, one.at_least))
        said.append(f"{one.name}: {number(found.median)}")
    title = f"{row.title}: {unit}"
    alt = f"{title}. {'; '.join(said)}"
    return _name(row, unit), alt, dots(title, alt, unit, marks)


def _curves(row: RowResult, unit: str, of: str, curves: Iterable[Curve]) -> Plot:
    drawn = [Line(c.name, tuple(c.x), tuple(c.y)) for c in curves]
    said = [
        f"{c.name}: {number(c.y[0])} at {number(c.x[0])}, {number(c.y[-1])} at "
        f"{number(c.x[-1])}, exponent {c.exponent:.2f}"
        for c in curves
    ]
    title = f"{row.title}: {unit} over {of}"
    alt = f"{title}. {'; '.join(said)}"
    return _name(row, f"{unit} {of}"), alt, lines(title, alt, (of, unit), drawn)


def _name(row: RowResult, what: str) -> str:
    letters = (
        letter if letter.isalnum() else "-" for letter in what.lower().replace("µ", "u")
    )
    words = "".join(letters).encode("ascii", "ignore").decode().split("-")
    return "-".join([row.name, *filter(None, words)])
