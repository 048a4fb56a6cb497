# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the pure floors are covered: more than 95 % of lines and of branches.

    python -m tests.coverage_floors coverage.json

Knows the floors and how coverage.py writes its JSON; measures nothing. What is measured
is what the tests of rooms below the roof cover: that doubles the time of a test.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.house import FLOOR, PURE, ROOT, room_of

LEAST = 0.95


def main(report: str) -> int:
    """Print a line a floor; 1 if one is not covered enough."""
    files: Mapping[str, Any] = json.loads(Path(report).read_text())["files"]
    enough = True
    for floor in PURE:
        rooms = [
            entry["summary"]
            for name, entry in files.items()
            if FLOOR.get(room_of(ROOT / name)) == floor
        ]
        lines = _share(rooms, "covered_lines", "num_statements")
        branches = _share(rooms, "covered_branches", "num_branches")
        low = min(lines, branches) <= LEAST
        enough = enough and not low
        print(  # noqa: T201 - a program
            f"{floor:<9} {lines:7.2%} of lines  {branches:7.2%} of branches"
            + (f"  at most {LEAST:.0%} is not enough" if low else "")
        )
    return 0 if enough else 1


def _share(summaries: list[Mapping[str, int]], part: str, whole: str) -> float:
    total = sum(summary[whole] for summary in summaries)
    return sum(summary[part] for summary in summaries) / total if total else 1.0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
