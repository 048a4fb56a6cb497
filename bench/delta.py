# SPDX-License-Identifier: GPL-2.0-or-later
"""A registry in the kernel changed a little, beside `nft -f` with the same change.

A row of the bench.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from bench.contract import Curve, Effort, Figure, Row
from bench.kernel import gateway, nested, nft_address, nft_file, ruleset
from bench.registry import SEED
from tests.lab.namespaces import Namespace
from tests.lab.plane import data_plane
from vpngate.kernel.live import LiveDataPlane
from vpngate.prefixes.intervals import Intervals

_FEW = 50  # intervals out, and as many in
_MANY = 500
_COMPARED = 30_000  # prefixes, where nft has its turn: with more it takes minutes
_ONE = Intervals.of_prefixes(["192.0.2.0/24"])


def measure(effort: Effort) -> Iterator[Figure | Curve]:
    compared = effort.pick(whole=_COMPARED, quick=10_000, tiny=1000)
    count = effort.pick(whole=1_000_000, quick=100_000, tiny=1000)
    turns = effort.pick(whole=5, quick=3, tiny=1)
    with tempfile.TemporaryDirectory() as name, gateway(Path(name)) as namespace:
        full = nested(compared)
        file = Path(name, "change.nft")
        mine, theirs = namespace.call(
            lambda: asyncio.run(_beside_nft(namespace, full, file, turns))
        )
        yield Figure(
            f"{_FEW} intervals out and {_FEW} in, beside {len(full):,}",
            "s",
            what="vpngate, read back",
            ours=mine,
            against="nft -f",
            theirs=theirs,
            at_most=1.0,
        )
        large = nested(count)
        many, one = namespace.call(lambda: asyncio.run(_alone(large, 2 * turns)))
    for what, values in (
        (f"{_MANY} intervals out and {_MANY} in", many),
        ("one prefix more, or less", one),
    ):
        yield Figure(
            f"{what}, beside {len(large):,}",
            "s",
            what="vpngate, read back",
            ours=values,
        )


def _changes(full: Intervals, size: int) -> Iterator[tuple[Intervals, Intervals]]:
    """What to hold next, and what of it is out: others are out each time."""
    random = np.random.default_rng(SEED)
    size = min(size, len(full.first4) // 4)
    while True:
        keep = np.ones(len(full.first4), dtype=np.bool_)
        keep[random.choice(len(keep), size, replace=False)] = False
        held = replace(full, first4=full.first4[keep], last4=full.last4[keep])
        none = full.first6[:0], full.last6[:0]
        yield held, Intervals(full.first4[~keep], full.last4[~keep], *none)


@asynccontextmanager
async def _plane(full: Intervals) -> AsyncIterator[LiveDataPlane]:
    plane = data_plane()
    await plane.start(ruleset(full))
    try:
        yield plane
    finally:
        await plane.stop()


async def _beside_nft(
    namespace: Namespace, full: Intervals, file: Path, turns: int
) -> tuple[list[float], list[float]]:
    """Seconds of each change, ours and theirs in turn; all but the first."""
    nft_file(full, file)
    await asyncio.to_thread(namespace.run, "nft", "-f", str(file), timeout=600)
    changes = _changes(full, _FEW)
    mine, theirs = [], []
    async with _plane(full) as plane:
        before = Intervals.empty()
        for _ in range(1 + turns):
            held, out = next(changes)
            begin = time.perf_counter()
            await plane.replace(ruleset(held))
            mine.append(time.perf_counter() - begin)
            change = partial(namespace.run, "nft", "-f", "-", timeout=600)
            text = _nft_change(before, out)
            begin = time.perf_counter()
            await asyncio.to_thread(change, stdin=text)
            theirs.append(time.perf_counter() - begin)
            before = out
    return mine[1:], theirs[1:]


def _nft_change(back: Intervals, out: Intervals) -> str:
    """A file for nft: what was out comes back, and others go out."""
    lines = []
    for verb, which in (("add", back), ("delete", out)):
        pairs = zip(which.first4, which.last4, strict=True)
        elements = [
            f"{nft_address(first)}-{nft_address(last)}" for first, last in pairs
        ]
        if elements:
            listed = ", ".join(elements)
            lines.append(f"{verb} element netdev compared spared_ipv4 {{ {listed} }}")
    return "\n".join(lines) + "\n"


async def _alone(full: Intervals, turns: int) -> tuple[list[float], list[float]]:
    """Seconds of many changed at once, and of one."""
    changes = _changes(full, _MANY)
    many, one = [], []
    async with _plane(full) as plane:
        for _ in range(1 + turns):
            held, _ = next(changes)
            begin = time.perf_counter()
            await plane.replace(ruleset(held))
            many.append(time.perf_counter() - begin)
        await plane.replace(ruleset(full))
        for turn in range(turns):
            target = full if turn % 2 else full.union(_ONE)
            begin = time.perf_counter()
            await plane.replace(ruleset(target))
            one.append(time.perf_counter() - begin)
    return many[1:], one


ROW = Row(
    "delta",
    "A registry in the kernel changed a little",
    measure,
    seconds=120,
    root=True,
    about=(
        "Merged intervals are taken out and those of the turn before put back, in one "
        "change; vpngate reads what it changed back from the kernel, `nft -f` does not."
    ),
)
