# SPDX-License-Identifier: GPL-2.0-or-later
"""A run that was never made, with one of everything."""

from bench.contract import Curve, Effort, Figure
from bench.noise import Noise
from bench.result import Result, RowResult

QUIET = Noise((5.0, 5.1, 5.0), (5.0, 5.1, 5.0))
BUSY = Noise((10.0, 10.0, 10.0), (5.0, 7.0, 5.0))
RATIO = Figure(
    "a load",
    "s",
    what="vpngate",
    ours=[1.0, 2.0, 3.0],
    against="nft -f",
    theirs=[2.0, 2.0, 2.0],
    at_most=1.25,
    note="all of it",
)
MISSED = Figure("idle", "ms", "vpngate", [4.0], at_most=3.0)
ALONE = Figure("p99 | worst", "ms", "vpngate", [0.5, 40.0], at_least=0.1)
CURVE = Curve("flows kept", "µs", "flows", [10, 100, 1000], [1, 10, 100], at_most=1.1)


def row(name: str, *items: Figure | Curve, failed: str = "") -> RowResult:
    return RowResult(
        name, f"The {name}", "How <it> is.", 2.5, failed, (QUIET, QUIET), items
    )


def result(*rows: RowResult, effort: Effort = Effort.WHOLE) -> Result:
    machine = {"processor": "a small one", "cores": "2"}
    return Result(effort, "2026-11-26T12:00:00+00:00", 90.0, machine, (), rows)


EVERYTHING = result(
    row("load", RATIO, MISSED, ALONE, CURVE),
    row("broken", ALONE, failed="ValueError: no <figure> | at all"),
)
