# SPDX-License-Identifier: GPL-2.0-or-later
"""An address looked up in a registry, beside peers' trees.

A row of the bench.
"""

import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import registry
from bench.contract import Curve, Effort, Figure, Row
from bench.trees import OURS, Ask, filled, peers
from vpngate.registry import Registry


def measure(effort: Effort) -> Iterator[Figure | Curve]:
    count = effort.pick(whole=1_000_000, quick=100_000, tiny=1000)
    turns = effort.pick(whole=15, quick=5, tiny=2)
    asked = effort.pick(whole=50_000, quick=20_000, tiny=200)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "registry")
        registry.write(path, count, "csv")
        data = path.read_bytes()
    trees = {who: filled(who, data) for who in (OURS, *peers())}
    tree = trees[OURS][0]
    assert isinstance(tree, Registry)
    rng = random.Random(registry.SEED + 2)
    for kind, addresses in registry.probes(tree, rng, asked).items():
        taken: dict[str, list[float]] = {who: [] for who in trees}
        for _ in range(turns):
            for who, (_, ask) in trees.items():
                taken[who].append(_microseconds(ask, addresses))
        for who in peers() or [""]:
            yield Figure(
                f"{kind}, {count:,} prefixes",
                "µs of a processor",
                what=OURS,
                ours=taken[OURS],
                against=who,
                theirs=taken.get(who, ()),
            )


def _microseconds(ask: Ask, addresses: Sequence[bytes]) -> float:
    begin = time.thread_time()
    ask(addresses)
    return (time.thread_time() - begin) / len(addresses) * 1e6


ROW = Row(
    "lookup",
    "An address looked up",
    measure,
    seconds=90,
    about=(
        "`hit` is an address inside a registered prefix, `any` one from anywhere. "
        "vpngate also asks whether the registration is valid at that moment; the peers "
        "get the address as bytes, as they are quickest to take it."
    ),
)
