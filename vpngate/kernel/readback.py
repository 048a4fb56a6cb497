# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the kernel's sets of spared addresses hold what they should.

Knows which addresses are worth asking about; does not know how to mend a set. A dump
of a large set takes the kernel minutes, so single addresses are asked for: ends of
intervals, where a mistake would show, their neighbours outside, and any.
"""

import numpy as np

from vpngate.kernel.owned_table import OwnedTable
from vpngate.packets import Family
from vpngate.registry.intervals import (
    Bounds,
    Intervals,
    Rows,
    following,
    preceding,
)

SAMPLE = 1000  # addresses of each family
_random = np.random.default_rng()


def spares_alike(table: OwnedTable, generation: int, spared: Intervals) -> bool:
    """Whether kernel and `spared` give the same answers for a sample of addresses."""
    return all(
        agrees(table, generation, spared, family, sample(spared.of(family), family))
        for family in Family
    )


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
