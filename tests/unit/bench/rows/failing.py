# SPDX-License-Identifier: GPL-2.0-or-later
"""A row that fails after its first figure."""

from collections.abc import Iterator

from bench.contract import Curve, Effort, Figure, Row


def measure(_: Effort) -> Iterator[Figure | Curve]:
    yield Figure("kept", "s", "ours", [1.0])
    raise ValueError("no second figure")


ROW = Row("failing", "A failing row", measure, seconds=1)
