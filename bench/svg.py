# SPDX-License-Identifier: GPL-2.0-or-later
"""Two kinds of plot as SVG, with logarithmic axes, legible in light and in dark.

Knows coordinates and marks; does not know what they stand for. Each plot has a title
and a description for whoever does not see it, and tells nothing by colour alone.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

_STYLE = """
svg { font: 13px sans-serif; --ink: #1f2328; --faint: #d1d9e0; --paper: #ffffff;
  --mark: #0550ae; --bound: #a40e26; }
@media (prefers-color-scheme: dark) { svg { --ink: #e6edf3; --faint: #3d444d;
  --paper: #0d1117; --mark: #79c0ff; --bound: #ff9492; } }
.paper { fill: var(--paper); } text { fill: var(--ink); }
.grid { stroke: var(--faint); } .one { stroke: var(--ink); stroke-dasharray: 4 3; }
.mark { stroke: var(--mark); fill: var(--mark); stroke-width: 2; }
.line { stroke: var(--mark); fill: none; stroke-width: 2; }
.bound { stroke: var(--bound); fill: var(--bound); stroke-width: 2; }
.end { text-anchor: end; } .middle { text-anchor: middle; }
"""
_WIDTH = 860
_TOP, _BOTTOM, _RIGHT = 44, 48, 24
_STEP = 26  # between two rows of dots
_HEIGHT = 320  # of the field of curves
_LETTER = 7.2  # width of one, about
_LEAST = 0.02  # what is nearer to nought is drawn as that part of the largest
_DASHES = ("", "8 4", "2 4", "10 3 2 3", "1 3", "14 4", "5 2")


class Dot(NamedTuple):
    """Median with quartiles, and its bounds."""

    label: str
    low: float
    median: float
    high: float
    at_most: float | None = None
    at_least: float | None = None


class Line(NamedTuple):
    """Points of a curve, all of them above nought."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]


class _Axis:
    """A logarithmic axis, from a place to another; ticks at 1, 2, 5 times tens."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = min(values) / 1.15, max(values) * 1.15
        self._low, self._high = math.log10(low), math.log10(high)
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        part = (math.log10(value) - self._low) / (self._high - self._low)
        return self._start + part * (self._end - self._start)

    def ticks(self) -> list[float]:
        tens = range(math.floor(self._low), math.ceil(self._high) + 1)
        steps: tuple[float, ...]
        many = self._high - self._low > 2
        steps = (1.0,) if many else (1.0, 2.0, 5.0)
        if self._high - self._low < 0.5:
            steps = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
        found = [step * 10.0**ten for ten in tens for step in steps]
        return [one for one in found if self._low <= math.log10(one) <= self._high]


def dots(
    title: str, about: str, axis: str, marks: Sequence[Dot], *, at: float | None = None
) -> str:
    """A row for each mark, along one axis; `at` draws a line across all."""
    left = 20 + _LETTER * max(len(mark.label) for mark in marks)
    width = max(_WIDTH, left + 360)
    height = _TOP + _STEP * len(marks) + _BOTTOM
    largest = max(mark.high for mark in marks)
    least = max(largest, 0.1) * _LEAST if min(m.low for m in marks) <= 0 else 0.0
    marks = [
        mark._replace(**{k: max(getattr(mark, k), least) for k in Dot._fields[1:4]})
        for mark in marks
    ]
    values = [value for mark in marks for value in mark[1:] if value is not None]
    scale = _Axis([*values, *([at] if at else [])], left, width - _RIGHT)
    foot = height - _BOTTOM
    parts = _upright(scale, _TOP - 8, foot)
    if at is not None:
        parts.append(_stroke("one", scale(at), _TOP - 8, scale(at), foot))
    for number, mark in enumerate(marks):
        y = _TOP + _STEP * number + _STEP / 2
        parts.append(_text(left - 10, y + 4, mark.label, "end"))
        parts.append(_stroke("mark", scale(mark.low), y, scale(mark.high), y))
        parts.append(
            f'<circle class="mark" cx="{scale(mark.median):.1f}" cy="{y:.1f}" r="4"/>'
        )
        for bound, sign in ((mark.at_most, -1), (mark.at_least, 1)):
            if bound is not None:
                parts += _bound(scale(bound), y, sign)
    parts.append(_text((left + width) / 2, height - 10, axis, "middle"))
    return _page(title, about, width, height, parts)


def lines(title: str, about: str, axes: tuple[str, str], curves: Sequence[Line]) -> str:
    """Curves with their points; `axes` are named x first."""
    left, foot = 90.0, float(_TOP + _HEIGHT)
    height = foot + _BOTTOM + 20 * len(curves)
    xs = [x for curve in curves for x in curve.x]
    ys = [y for curve in curves for y in curve.y]
    across, up = _Axis(xs, left, _WIDTH - _RIGHT), _Axis(ys, foot, _TOP)
    parts = _upright(across, _TOP, foot)
    for tick in up.ticks():
        parts.append(_stroke("grid", left, up(tick), _WIDTH - _RIGHT, up(tick)))
        parts.append(_text(left - 8, up(tick) + 4, _tick(tick), "end"))
    for number, curve in enumerate(curves):
        dash = f'stroke-dasharray="{_DASHES[number % len(_DASHES)]}"'
        points = [(across(x), up(y)) for x, y in zip(curve.x, curve.y, strict=True)]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="line" {dash} points="{joined}"/>')
        parts += [
            f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points
        ]
        y = foot + _BOTTOM + 20 * number
        parts.append(f'<path class="line" {dash} d="M{left:.0f},{y - 4:.0f} h60"/>')
        parts.append(_text(left + 70, y, curve.label))
    parts.append(_text((left + _WIDTH) / 2, foot + 36, axes[0], "middle"))
    parts.append(_text(left, _TOP - 8, axes[1]))
    return _page(title, about, _WIDTH, height, parts)


def _upright(scale: _Axis, top: float, foot: float) -> list[str]:
    parts = []
    for tick in scale.ticks():
        parts.append(_stroke("grid", scale(tick), top, scale(tick), foot))
        parts.append(_text(scale(tick), foot + 16, _tick(tick), "middle"))
    return parts


def _bound(x: float, y: float, sign: int) -> list[str]:
    """A bar, with a triangle that points to where it is good to be."""
    tip, base = x + sign * 9, x + sign * 2
    corners = f"M{base:.1f},{y - 4:.1f} L{tip:.1f},{y:.1f} L{base:.1f},{y + 4:.1f} Z"
    triangle = f'<path class="bound" d="{corners}"/>'
    return [_stroke("bound", x, y - 9, x, y + 9), triangle]


def _stroke(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return (
        f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" '
        f'x2="{x2:.1f}" y2="{y2:.1f}"/>'
    )


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    of_kind = f' class="{kind}"' if kind else ""
    return f'<text{of_kind} x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def _tick(value: float) -> str:
    if 0.001 <= value < 1e6:
        return (
            f"{value:,.3f}".rstrip("0").rstrip(".") if value < 1e3 else f"{value:,.0f}"
        )
    return f"{value:.0e}"


def _page(
    title: str, about: str, width: float, height: float, parts: Sequence[str]
) -> str:
    whole = f'viewBox="0 0 {width:.0f} {height:.0f}"'
    spoken = 'role="img" aria-labelledby="title about"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {spoken} {whole}>',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="about">{escape(about)}</desc>',
            f"<style>{_STYLE}</style>",
            '<rect class="paper" width="100%" height="100%"/>',
            _text(20, 22, title),
            *parts,
            "</svg>\n",
        ]
    )
