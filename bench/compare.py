# SPDX-License-Identifier: GPL-2.0-or-later
"""How far two runs are apart, figure by figure.

    python -m bench.compare A.json B.json

Of each figure that both have: its ratio in either (the median where nothing is
compared, the exponent of a curve), and the second to the first. Then the median of how
far these are from 1, and the furthest. Ends with 1 if one run has what the other lacks.
"""

import argparse
import sys
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.contract import Curve, Figure, summary
from bench.result import Result, Unreadable, from_json
from bench.words import number

Key = tuple[str, str, str]  # row, figure, beside what


class Pair(NamedTuple):
    """A figure in two runs."""

    name: str
    first: float
    second: float

    @property
    def apart(self) -> float:
        """Second to first, less 1; 0 where both are nought."""
        if self.first == self.second:
            return 0.0
        return self.second / self.first - 1 if self.first else float("inf")


def values(result: Result) -> dict[Key, float]:
    """What each figure comes to."""
    return {
        (row.name, item.name, _beside(item)): _value(item)
        for row in result.rows
        for item in row.items
    }


def pairs(one: Result, other: Result) -> tuple[list[Pair], list[str]]:
    """What both have, and the names of what only one has."""
    first, second = values(one), values(other)
    both = [key for key in first if key in second]
    lone = sorted(_named(key) for key in first.keys() ^ second.keys())
    return [Pair(_named(key), first[key], second[key]) for key in both], lone


def told(one: Result, other: Result) -> str:
    """The comparison in words."""
    found, lone = pairs(one, other)
    wide = max((len(pair.name) for pair in found), default=0)
    lines = [
        f"{pair.name:<{wide}}  {number(pair.first):>9} {number(pair.second):>9}"
        f"  {pair.apart:+.1%}"
        for pair in found
    ]
    lines += [f"only one has {name}" for name in lone]
    if found:
        apart = [abs(pair.apart) for pair in found]
        furthest = max(found, key=lambda pair: abs(pair.apart))
        lines.append(
            f"{len(found)} figures: median {median(apart):.1%} apart, furthest "
            f"{max(apart):.1%} ({furthest.name})"
        )
    return "\n".join(lines) + "\n"


def _beside(item: Figure | Curve) -> str:
    return item.against if isinstance(item, Figure) else item.of


def _value(item: Figure | Curve) -> float:
    if isinstance(item, Curve):
        return item.exponent
    return (item.ratio or summary(item.ours)).median


def _named(key: Key) -> str:
    row, name, beside = key
    return f"{row}: {name}" + (f", to {beside}" if beside else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    args = parser.parse_args()
    runs = []
    for path in (args.first, args.second):
        try:
            runs.append(from_json(path.read_text()))
        except (OSError, Unreadable) as error:
            sys.exit(f"{path}: {error}")
    print(told(*runs), end="")
    sys.exit(bool(pairs(*runs)[1]))


if __name__ == "__main__":
    main()
