# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon takes while nothing happens, with a million prefixes.

A row of the bench.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from bench import registry
from bench.contract import Curve, Effort, Figure, Row
from bench.footprint import peak, resident, used
from tests.lab import topology
from tests.lab.daemon import Daemon, daemon, enforcing_settings

PROCESSOR = 0.5  # percent of a core
MEMORY = 200.0  # MB
_SETTLED = 10.0  # seconds after the start, when it is idle
_MB = 1.048576  # a MiB


def measure(effort: Effort) -> Iterator[Figure | Curve]:
    """Two daemons beside each other, so that each window is of both."""
    count = effort.pick(whole=1_000_000, quick=100_000, tiny=1000)
    turns = effort.pick(whole=3, quick=1, tiny=1)
    window = effort.pick(whole=31.0, quick=31.0, tiny=2.0)  # a whole verify is within
    with contextlib.ExitStack() as stack:
        few = stack.enter_context(_running(0))
        many = stack.enter_context(_running(count))
        time.sleep(min(_SETTLED, window))
        shares: dict[str, list[float]] = {"few": [], "many": []}
        for _ in range(turns):
            before = [used(one.process.pid) for one in (few, many)]
            time.sleep(window)
            after = [used(one.process.pid) for one in (few, many)]
            for key, begin, end in zip(shares, before, after, strict=True):
                shares[key].append(100 * (end - begin) / window)
        held = resident(many.process.pid) * _MB, resident(few.process.pid) * _MB
        most = peak(many.process.pid) * _MB
    name = f"{count:,} prefixes"
    yield Figure(
        f"{name}, idle",
        "% of a core",
        what="vpngate",
        ours=shares["many"],
        at_most=PROCESSOR,
    )
    yield Figure("the shipped registry, idle", "% of a core", "vpngate", shares["few"])
    yield Figure(
        f"{name}, resident", "MB", what="vpngate", ours=[held[0]], at_most=MEMORY
    )
    yield Figure("the shipped registry, resident", "MB", "vpngate", [held[1]])
    yield Figure(f"{name}, resident at most, at the start", "MB", "vpngate", [most])


@contextlib.contextmanager
def _running(count: int) -> Iterator[Daemon]:
    """A daemon that enforces, on a gateway of its own, with so many prefixes."""
    with topology.build() as lab:
        settings = enforcing_settings(lab)
        if count:
            # Its prefixes are from anywhere, also where no VPN server is.
            settings.change(registry={"allow_special": True})
            registry.write(Path(settings.registry), count, "csv")
        with daemon(lab.gateway, settings) as running:
            yield running


ROW = Row(
    "idle",
    "What it takes while nothing happens",
    measure,
    seconds=160,
    root=True,
    about=(
        "The daemon enforces, no packet crosses the gateway, and nobody asks for "
        "metrics. Each window is long enough for all that comes again and again: "
        "re-arming, counters, a comparison with the kernel."
    ),
)
