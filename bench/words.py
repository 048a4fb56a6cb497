# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures in words, for the table and the page alike."""

from bench.contract import Curve, Figure, Summary, summary
from bench.noise import Noise
from bench.result import Result

_QUIET = 0.05  # of the time that others had the processor


def number(value: float) -> str:
    """Three digits, more where a whole number has them."""
    if value == 0:
        return "0"
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    if "e" in text:
        return f"{value:.1e}"
    return text


def spread(one: Summary) -> str:
    """Median, and the quartiles where they differ from it."""
    low, median, high = map(number, one)
    return median if low == high else f"{median} ({low} to {high})"


def bound(item: Figure | Curve) -> str:
    """What it should be, and whether it is."""
    parts = []
    if item.at_most is not None:
        parts.append(f"at most {number(item.at_most)}")
    if isinstance(item, Figure) and item.at_least is not None:
        parts.append(f"at least {number(item.at_least)}")
    if not parts:
        return ""
    return f"{', '.join(parts)}: {'holds' if item.holds else 'MISSED'}"


def cells(item: Figure | Curve) -> tuple[str, str, str, str, str]:
    """Name, ours, theirs, ratio or exponent, bound."""
    if isinstance(item, Curve):
        ends = f"{number(item.y[0])} to {number(item.y[-1])} {item.unit}"
        along = f"{number(item.x[0])} to {number(item.x[-1])} {item.of}"
        found = f"exponent {item.exponent:.2f}"
        return item.name, ends, along, found, bound(item)
    ours = f"{item.what}: {spread(summary(item.ours))} {item.unit}"
    theirs = ratio = ""
    if (found_ratio := item.ratio) is not None:
        theirs = f"{item.against}: {number(summary(item.theirs).median)}"
        ratio = spread(found_ratio)
    return item.name, ours, theirs, ratio, bound(item)


def phases(noises: list[Noise]) -> str:
    """How even the machine was from one row to the next."""
    middles = [one.middle for one in noises]
    waited = max(one.waited for one in noises)
    within = summary([one.spread for one in noises]).median
    fastest, slowest = min(middles), max(middles)
    quiet = "nobody else" if waited < _QUIET else "others"
    return (
        f"A fixed loop took {number(fastest)} to {number(slowest)} ms of a processor "
        f"from row to row ({slowest / fastest:.2f} times), and varied by {within:.0%} "
        f"within a row's look; {quiet} wanted the processor (at most {waited:.0%} of "
        "the time)."
    )


def caveats(result: Result) -> list[str]:
    """Why this run tells less than a whole one on a quiet machine."""
    found = []
    if result.effort.value != "whole":
        found.append(
            f"It was made with `--{result.effort.value}`: fewer turns and smaller "
            "sizes than `make bench` takes."
        )
    if result.missing:
        found.append(f"It lacks rows: {', '.join(result.missing)}.")
    if failed := [row.name for row in result.rows if row.failed]:
        found.append(f"Rows that did not come to their end: {', '.join(failed)}.")
    if any(one.waited >= _QUIET for one in result.noises):
        found.append("Others had work for the processors meanwhile.")
    return found
