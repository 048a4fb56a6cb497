# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers as columns of a chart: what an SVG path needs, and nothing else.

Knows coordinates; does not know HTML, nor what the numbers are. A number that is not
known leaves a gap.
"""

from collections.abc import Sequence

HEIGHT = 40
STEP, WIDE = 4, 3  # units from one column to the next, and of a column

Series = Sequence[int | None]


def width(values: Series) -> int:
    """How wide a chart of them is."""
    return STEP * len(values)


def columns(values: Series) -> str:
    """The path (SVG 2, 9.3) of a column each, the highest as high as the chart.

    Whatever is more than nothing can be seen.
    """
    top = max((value for value in values if value), default=0)
    return "".join(
        f"M{STEP * place} {HEIGHT}v-{_high(value, top)}h{WIDE}V{HEIGHT}z"
        for place, value in enumerate(values)
        if value
    )


def _high(value: int, top: int) -> int:
    return max(1, round(HEIGHT * value / top))


def gaps(values: Series) -> str:
    """The path of a mark for each stretch of numbers that are not known."""
    path, begin, below = "", None, HEIGHT - 1
    for place, value in enumerate([*values, 0]):
        if value is None and begin is None:
            begin = place
        elif value is not None and begin is not None:
            left, long = STEP * begin, STEP * (place - begin)
            path += f"M{left} {below}h{long}v1H{left}z"
            begin = None
    return path


def total(values: Series) -> int:
    """The sum of those that are known."""
    return sum(value for value in values if value)


def in_parts(values: Series, parts: int) -> list[int | None]:
    """The sums of so many parts of equal length; None where nothing is known."""
    size = len(values) // parts
    pieces = [values[size * at : size * (at + 1)] for at in range(parts)]
    return [
        total(piece) if any(v is not None for v in piece) else None for piece in pieces
    ]


def together(several: Sequence[Series]) -> list[int | None]:
    """One sum for each place; None where none of them is known."""
    return [
        sum(v for v in row if v is not None)
        if any(v is not None for v in row)
        else None
        for row in zip(*several, strict=True)
    ]


def most(values: Series) -> int:
    """The largest that is known; 0 if none is."""
    return max((value for value in values if value), default=0)
