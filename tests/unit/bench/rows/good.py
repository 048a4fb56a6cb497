# SPDX-License-Identifier: GPL-2.0-or-later
"""A row that comes to its end, prints on the way, and leaves a program behind."""

import subprocess
from collections.abc import Iterator

from bench.contract import Curve, Effort, Figure, Row


def measure(effort: Effort) -> Iterator[Figure | Curve]:
    print("this is no figure")  # noqa: T201 - as a row might
    subprocess.Popen(["sleep", "600"])  # it outlives the row, and holds nothing up
    yield Figure("speed", "s", effort.value, [1.0, 2.0], "theirs", [2.0, 2.0])
    yield Curve("growth", "s", "flows", [1, 10], [1, 10])


ROW = Row("good", "A good row", measure, seconds=1, about="It is good.")
