# SPDX-License-Identifier: GPL-2.0-or-later
"""A row whose process is killed."""

import os
import signal
from collections.abc import Iterator

from bench.contract import Curve, Effort, Figure, Row


def measure(_: Effort) -> Iterator[Figure | Curve]:
    yield Figure("kept", "s", "ours", [1.0])
    os.kill(os.getpid(), signal.SIGKILL)


ROW = Row("dying", "A dying row", measure, seconds=1)
