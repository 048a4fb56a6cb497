# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon takes with a million prefixes: to start, to reload, to do nothing.

A row of the bench.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from bench import registry
from bench.contract import Curve, Effort, Figure, Row
from bench.footprint import maps, peak, resident, used
from tests.lab import topology
from tests.lab.daemon import Daemon, daemon, enforcing_settings
from tests.planes import PLANE
from vpngate.config import Plane
from vpngate.daemon.outside.client import request

PROCESSOR = 0.5  # percent of a core
MEMORY = 200.0  # MB
_SETTLED = 10.0  # seconds after the start, when it is idle
_RELOAD = 600.0  # seconds, for one of a million prefixes
_MB = 1.048576  # a MiB


def measure(effort: Effort) -> Iterator[Figure | Curve]:
    """Two daemons beside each other, so that each window is of both."""
    count = effort.pick(whole=1_000_000, quick=100_000, tiny=1000)
    turns = effort.pick(whole=3, quick=1, tiny=1)
    window = effort.pick(whole=31.0, quick=31.0, tiny=2.0)  # a whole verify is within
    with contextlib.ExitStack() as stack:
        few, _ = stack.enter_context(_running(0))
        many, started = stack.enter_context(_running(count))
        time.sleep(min(_SETTLED, window))
        shares: dict[str, list[float]] = {"few": [], "many": []}
        for _turn in range(turns):
            before = [used(one.process.pid) for one in (few, many)]
            time.sleep(window)
            after = [used(one.process.pid) for one in (few, many)]
            for key, begin, end in zip(shares, before, after, strict=True):
                shares[key].append(100 * (end - begin) / window)
        held = resident(many.process.pid) * _MB, resident(few.process.pid) * _MB
        most = peak(many.process.pid) * _MB
        in_maps = maps(many.process.pid) * _MB
        changed = [_reloaded(many, turn) for turn in range(turns)]
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
    if PLANE is Plane.EBPF:
        yield Figure(f"{name}, maps of eBPF", "MB", "vpngate", [in_maps])
    yield Figure(f"{name}, from its start to armed", "s", "vpngate", [started])
    yield Figure(f"{name}, one more in the file, until live", "s", "vpngate", changed)


def _reloaded(running: Daemon, turn: int) -> float:
    """Seconds that a reload takes, read back from the kernel."""
    running.settings.register(f"192.0.2.{turn}/32")
    begin = time.monotonic()
    told = request(running.settings.socket, "reload", timeout=_RELOAD)
    spent = time.monotonic() - begin
    if not told["registry"].startswith("taken from "):
        raise RuntimeError("the registry was not taken")
    return spent


@contextlib.contextmanager
def _running(count: int) -> Iterator[tuple[Daemon, float]]:
    """A daemon that enforces, on a gateway of its own, with so many prefixes.

    And the seconds from its start until it was armed.
    """
    with topology.build() as lab:
        settings = enforcing_settings(lab)
        if count:
            # Its prefixes are from anywhere, also where no VPN server is.
            settings.change(registry={"allow_special": True})
            registry.write(Path(settings.registry), count, "csv")
        begin = time.monotonic()
        with daemon(lab.gateway, settings) as running:
            running.wait_until(
                lambda: bool(running.ask("status")["kernel"]["armed"]), "armed"
            )
            yield running, time.monotonic() - begin


ROW = Row(
    "idle",
    "What it takes with a million prefixes, and while nothing happens",
    measure,
    seconds=170,
    root=True,
    about=(
        "The daemon enforces, no packet crosses the gateway, and nobody asks for "
        "metrics. Each window is long enough for all that comes again and again: "
        "re-arming, counters, a comparison with the kernel. A start is from the CSV, "
        "with nothing remembered; a reload reads it all, and is read back."
    ),
)
