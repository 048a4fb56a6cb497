# SPDX-License-Identifier: GPL-2.0-or-later
"""A registry into memory, beside peers' trees, and into the kernel, beside `nft -f`.

A row of the bench.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import registry
from bench.contract import Curve, Effort, Figure, Row
from bench.footprint import kernel_objects, maps
from bench.kernel import gateway, nested, nft_file, ruleset
from bench.trees import OURS, peers
from tests.lab.namespaces import Namespace
from tests.lab.plane import data_plane
from tests.planes import PLANE
from vpngate.config import Plane
from vpngate.prefixes.intervals import Intervals

_ROOT = Path(__file__).parent.parent


def measure(effort: Effort) -> Iterator[Figure | Curve]:
    count = effort.pick(whole=1_000_000, quick=100_000, tiny=1000)
    turns = effort.pick(whole=3, quick=2, tiny=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield from _into_memory(folder, count, turns)
        with gateway(folder) as namespace:
            yield from _into_kernel(namespace, folder, count, turns)


def _into_memory(folder: Path, count: int, turns: int) -> Iterator[Figure]:
    """Each in a process of its own, so that memory is its own."""
    path = folder / "registry"
    registry.write(path, count, "csv")
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(turns):
        for who in (OURS, *peers()):
            command = [sys.executable, "-m", "bench.trees", who, str(path)]
            done = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True)
            found.setdefault(who, []).append(json.loads(done.stdout))
    for key, unit, what in (
        ("seconds", "s", "from a CSV to a tree that answers"),
        ("stays", "MiB", "memory that it stays in"),
        ("peak", "MiB", "memory at most, meanwhile"),
    ):
        mine = [one[key] for one in found[OURS]]
        for who in peers() or [""]:
            yield Figure(
                f"{count:,} prefixes, {what}",
                unit,
                what=OURS,
                ours=mine,
                against=who,
                theirs=[one[key] for one in found.get(who, ())],
            )


def _into_kernel(
    namespace: Namespace, folder: Path, count: int, turns: int
) -> Iterator[Figure]:
    """`nft -f`, a start, and a change of a running daemon's, in turn."""
    full = nested(count)
    file = folder / "set.nft"
    nft_file(full, file)
    taken: dict[str, list[float]] = {"nft": [], "start": [], "replace": []}
    memory: dict[str, list[float]] = {}
    for _ in range(turns):
        begin = time.perf_counter()
        namespace.run("nft", "-f", str(file), timeout=600)
        taken["nft"].append(time.perf_counter() - begin)
        namespace.run("nft", "delete", "table", "netdev", "compared", timeout=600)
        for name, work in (("start", _start), ("replace", _replace)):
            seconds = namespace.call(
                lambda work=work: asyncio.run(work(full, memory))  # type: ignore[misc]
            )
            taken[name].append(seconds)
    for name, what in (("start", "at a start"), ("replace", "while running")):
        yield Figure(
            f"{len(full):,} intervals into the kernel {what}",
            "s",
            what=OURS,
            ours=taken[name],
            against="nft -f",
            theirs=taken["nft"],
            at_most=1.0,
        )
    for what, values in memory.items():
        yield Figure(f"{len(full):,} intervals in {what}", "MiB", OURS, values)


async def _start(full: Intervals, memory: dict[str, list[float]]) -> float:
    """Seconds; notes what the kernel holds more than before, and the maps of eBPF."""
    before = kernel_objects(), maps()
    plane = data_plane()
    begin = time.perf_counter()
    await plane.start(ruleset(full))
    spent = time.perf_counter() - begin
    grown = kernel_objects() - before[0]
    memory.setdefault("the kernel's objects", []).append(grown)
    if PLANE is Plane.EBPF:
        memory.setdefault("maps of eBPF", []).append(maps() - before[1])
    await plane.stop()
    return spent


async def _replace(full: Intervals, _: object) -> float:
    """From nothing to all of it."""
    plane = data_plane()
    await plane.start(ruleset(Intervals.empty()))
    begin = time.perf_counter()
    await plane.replace(ruleset(full))
    spent = time.perf_counter() - begin
    await plane.stop()
    return spent


ROW = Row(
    "load",
    "A registry into memory and into the kernel",
    measure,
    seconds=200,
    root=True,
    about=(
        "The registry is seeded, of both families, and one prefix in four lies inside "
        "another. vpngate checks every row, keeps dates and remembers what is wrong "
        "where; the peers' trees get prefix and registration from the same CSV and "
        "check nothing. `nft -f` reads the same merged intervals from a file."
    ),
)
