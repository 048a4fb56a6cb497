# SPDX-License-Identifier: GPL-2.0-or-later
"""A row that never ends, and leaves a program behind that would not either."""

import subprocess
import time
from collections.abc import Iterator

from bench.contract import Curve, Effort, Figure, Row


def measure(_: Effort) -> Iterator[Figure | Curve]:
    left = subprocess.Popen(["sleep", "600"])
    yield Figure("left behind", "its number", "ours", [left.pid])
    time.sleep(600)


ROW = Row("hanging", "A hanging row", measure, seconds=1)
