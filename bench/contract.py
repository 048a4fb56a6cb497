# SPDX-License-Identifier: GPL-2.0-or-later
"""What a row of the bench is, and what it hands back: figures, and curves.

Knows how a figure is summed up; does not measure, print or draw. A row is a module of
`bench` with a constant `ROW`, and its name stands in `bench.rows`. The runner gives it
a process of its own, so it may patch, fork and fail as it likes; what it yielded before
it failed is kept. What it prints goes to standard error.

    def measure(effort: Effort) -> Iterator[Figure | Curve]:
        turns = effort.pick(whole=9, quick=3, tiny=1)
        ...
        yield Figure("a million prefixes", "s", what="vpngate", ours=mine,
                     against="nft -f", theirs=nfts, at_most=1.0)

    ROW = Row("load", "A registry into the kernel", measure, seconds=180, root=True)

What is compared takes turns: value n of one side is measured right before or after
value n of the other, since a machine has slow and fast phases.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")
MOST_TURNS = 50  # values a side that a figure keeps


class Effort(Enum):
    """How long a row may take."""

    WHOLE = "whole"  # within its seconds: figures that are told
    QUICK = "quick"  # a tenth of them: fewer turns, smaller sizes
    TINY = "tiny"  # a second or two: only shows that it runs

    def pick(self, *, whole: T, quick: T, tiny: T) -> T:
        """A size, a number of turns, ... for this effort."""
        return {"whole": whole, "quick": quick, "tiny": tiny}[self.value]


class Summary(NamedTuple):
    """Median and quartiles."""

    low: float
    median: float
    high: float

    @property
    def spread(self) -> float:
        """What lies between the quartiles, as a part of the median."""
        return (self.high - self.low) / abs(self.median) if self.median else 0.0


def summary(values: Sequence[float]) -> Summary:
    """Of at least one value."""
    low, median, high = np.percentile(np.asarray(values, dtype=float), (25, 50, 75))
    return Summary(float(low), float(median), float(high))


@dataclass(frozen=True)
class Figure:
    """A figure: ours in each turn, and theirs beside it if it is compared.

    `unit` is that of both sides, written out ("ns a packet"). `at_most` and `at_least`
    bound the ratio, ours to theirs, where there is one, else the median. `note` is a
    sentence for whoever reads docs/performance.md. ValueError if the turns do not fit.
    """

    name: str
    unit: str
    what: str
    ours: Sequence[float]
    against: str = ""
    theirs: Sequence[float] = ()
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        for side in ("ours", "theirs"):
            values = tuple(float(value) for value in getattr(self, side))
            object.__setattr__(self, side, values)
        if not 0 < len(self.ours) <= MOST_TURNS:
            raise ValueError(f"{self.name}: {len(self.ours)} turns; see `condensed`")
        if len(self.theirs) != (len(self.ours) if self.against else 0):
            raise ValueError(f"{self.name}: {len(self.theirs)} turns beside ours")
        if not all(map(math.isfinite, self.ours)) or 0 in self.theirs:
            raise ValueError(f"{self.name}: turns that come to nothing")

    @property
    def ratio(self) -> Summary | None:
        """Ours to theirs, turn by turn; None if there is nothing beside it."""
        if not self.against:
            return None
        pairs = zip(self.ours, self.theirs, strict=True)
        return summary([ours / theirs for ours, theirs in pairs])

    @property
    def holds(self) -> bool | None:
        """Whether it keeps to its bounds; None if it has none."""
        if self.at_most is None and self.at_least is None:
            return None
        found = (self.ratio or summary(self.ours)).median
        return (self.at_most is None or found <= self.at_most) and (
            self.at_least is None or found >= self.at_least
        )


@dataclass(frozen=True)
class Curve:
    """How something grows with something else: both axes are drawn logarithmic.

    `unit` is that of y; `at_most` bounds the exponent, which is 1 where it is linear.
    """

    name: str
    unit: str
    of: str  # what x counts: "prefixes"
    x: Sequence[float]
    y: Sequence[float]
    at_most: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        for axis in ("x", "y"):
            values = tuple(float(value) for value in getattr(self, axis))
            object.__setattr__(self, axis, values)
        if len(self.x) < 2 or len(self.x) != len(self.y) or min(*self.x, *self.y) <= 0:
            raise ValueError(f"{self.name}: no curve for two logarithmic axes")

    @property
    def exponent(self) -> float:
        """Slope of the line through the logarithms of the points."""
        slope, _ = np.polyfit(np.log(self.x), np.log(self.y), 1)
        return float(slope)

    @property
    def holds(self) -> bool | None:
        """Whether it grows no faster than it may; None if that is not said."""
        return None if self.at_most is None else self.exponent <= self.at_most


@dataclass(frozen=True)
class Row:
    """A row of the table. `seconds` is what it may take, whole, on two quiet cores."""

    name: str
    title: str
    measure: Callable[[Effort], Iterator[Figure | Curve]]
    seconds: float
    root: bool = False
    about: str = ""  # how it is measured, for docs/performance.md


def condensed(values: Sequence[float], turns: int = MOST_TURNS) -> tuple[float, ...]:
    """Many short turns as a few: medians of neighbours, cut alike for both sides."""
    parts = np.array_split(np.asarray(values, dtype=float), min(turns, len(values)))
    return tuple(float(np.median(part)) for part in parts)


def as_data(item: Figure | Curve) -> dict[str, Any]:
    """For JSON."""
    kind = "figure" if isinstance(item, Figure) else "curve"
    return {"kind": kind, **asdict(item)}


def from_data(data: dict[str, Any]) -> Figure | Curve:
    """What `as_data` made."""
    kept = {key: value for key, value in data.items() if key != "kind"}
    return (Curve if data["kind"] == "curve" else Figure)(**kept)
