# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the kernel's sets of spared addresses hold what they should.

Knows which addresses are worth asking about; does not know how to mend a set. A dump
of a large set takes the kernel minutes, so single addresses are asked for: ends of
intervals, where a mistake would show, their neighbours outside, and any. After a change
of few intervals, the ends of all that changed are.
"""

from collections.abc import Iterator

import numpy as np

from vpngate.kernel.owned_table import OwnedTable
from vpngate.packets import Family
from vpngate.registry.intervals import (
    Bounds,
    Delta,
    Intervals,
    Rows,
    following,
    preceding,
)

SAMPLE = 1000  # addresses of each family
STEP = 500  # addresses asked for at once: others must have their turn, too
_random = np.random.default_rng()


def spares_alike(table: OwnedTable, generation: int, spared: Intervals) -> bool:
    """Whether kernel and `spared` give the same answers for a sample of addresses."""
    return all(
        agrees(table, generation, spared, family, sample(spared.of(family), family))
        for family in Family
    )


def after_change(
    spared: Intervals, delta: Delta, *, anew: bool
) -> Iterator[tuple[Family, Rows]]:
    """Addresses to ask about once `delta` has led to `spared`, `STEP` at a time.

    Of sets that were filled anew a sample, otherwise the ends of all that changed.
    """
    for family in Family:
        if anew:
            rows = sample(spared.of(family), family)
        else:
            changed = (*delta.added.of(family), *delta.removed.of(family))
            rows = np.concatenate(changed)
        for start in range(0, len(rows), STEP):
            yield family, rows[start : start + STEP]


def agrees(
    table: OwnedTable,
    generation: int,
    spared: Intervals,
    family: Family,
    addresses: Rows,
) -> bool:
    """Whether the kernel gives the same answers as `spared`."""
    found = table.spares(generation, family, addresses)
    return np.array_equal(found, spared.contains_each(addresses))


def sample(bounds: Bounds, family: Family) -> Rows:
    """Addresses to ask about: a third at random, the rest about ends of intervals."""
    some = SAMPLE // 6
    anywhere = _random.integers(0, 256, (2 * some, family.width), dtype=np.uint8)
    if not len(bounds):
        return anywhere
    picked = _random.integers(0, len(bounds), some)
    return np.concatenate([anywhere, about(bounds.first[picked], bounds.last[picked])])


def about(first: Rows, last: Rows) -> Rows:
    """The ends of intervals, and their neighbours outside."""
    return np.concatenate([first, last, preceding(first), following(last)[0]])
