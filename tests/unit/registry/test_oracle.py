# SPDX-License-Identifier: GPL-2.0-or-later
"""The prefix tree against a naive scan: 100,000 addresses over 200 registries.

Registries are crowded into few addresses, so that prefixes nest, touch and repeat;
addresses are drawn at random and at every boundary, one off to either side.
"""

import random
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest

from tests.unit.registry.standing import stands_at
from vpngate.packets import Family
from vpngate.prefixes.intervals import Intervals
from vpngate.prefixes.prefix import Prefix
from vpngate.prefixes.rows import rows_of
from vpngate.registry.columns.entries import Row, draw_up
from vpngate.registry.columns.terms import Terms
from vpngate.registry.registry import Registry
from vpngate.timekeeping.moments import ALWAYS, NEVER

REGISTRIES = 200
ADDRESSES = 500  # a registry
MOMENTS = [0.0, 10.0, 20.0, 30.0]
GRACE = 5.0


class Naive(NamedTuple):
    """What the registry under test was given, kept as a list."""

    family: Family
    number: int
    length: int
    terms: Terms

    def encloses(self, address: int) -> bool:
        return not (address ^ self.number) >> (8 * self.family.width - self.length)

    def stands(self, now: float) -> bool:
        end = min(self.terms.valid_until, self.terms.gone_since)
        return self.terms.valid_from <= now < end + GRACE


def crowded(rng: random.Random, family: Family) -> Naive:
    bits = 8 * family.width
    # A few bits at either end, behind the first 16, and across the middle vary, the
    # rest never does.
    loose = rng.choice([6, 12])
    shift = rng.choice([0, bits // 2 - 3, bits - 16 - loose, bits - loose])
    ground = rng.choice([0, (1 << bits) - 1, 0xA5A5A5A5 << (bits - 32)])
    number = ground ^ rng.getrandbits(loose) << shift
    length = rng.choice([0, 1, bits, *(rng.randint(1, bits) for _ in range(9))])
    number = number >> (bits - length) << (bits - length)
    since = rng.choice([ALWAYS, *MOMENTS])
    until = rng.choice([NEVER, NEVER, *(m for m in [*MOMENTS, 99.0] if m > since)])
    gone = rng.choice([NEVER, NEVER, NEVER, *MOMENTS])
    return Naive(family, number, length, Terms((), since, until, gone))


def registry_of(rows: list[Naive]) -> Registry:
    def roll(chosen: list[tuple[int, Naive]]) -> Iterator[Row]:
        for place, row in chosen:
            network = row.number.to_bytes(row.family.width, "big")
            yield Row(Prefix(network, row.length), f"R-{place}", row.terms)

    gone = [(at, row) for at, row in enumerate(rows) if row.terms.gone_since < NEVER]
    here = [(at, row) for at, row in enumerate(rows) if row.terms.gone_since == NEVER]
    return Registry(draw_up(roll(here)), draw_up(roll(gone)), grace=GRACE)


def addresses(rng: random.Random, rows: list[Naive], family: Family) -> list[int]:
    top = (1 << 8 * family.width) - 1
    edges = [0, top]
    for row in rows:
        size = 1 << (8 * family.width - row.length)
        edges += [row.number + at for at in (-1, 0, size // 2, size - 1, size)]
    edges = [edge for edge in edges if 0 <= edge <= top]
    return [
        rng.choice(edges) if rng.random() < 0.9 else rng.randint(0, top)
        for _ in range(ADDRESSES // 2)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(REGISTRIES))
def test_lookup_and_coverage_equal_a_naive_scan(seed: int) -> None:
    rng = random.Random(seed)
    families = [rng.choice(list(Family)) for _ in range(rng.randrange(60))]
    rows = [crowded(rng, family) for family in families]
    registry = registry_of(rows)
    now = rng.choice(MOMENTS)
    covered = registry.covered(now)
    for family in Family:
        mine = [row for row in rows if row.family is family]
        asked = addresses(rng, mine, family)
        packed = [number.to_bytes(family.width, "big") for number in asked]
        verdicts = []
        for number, address in zip(asked, packed, strict=True):
            around = [row for row in mine if row.encloses(number)]
            standing = [row for row in around if row.stands(now)]
            found = registry.lookup(address, now)
            verdicts.append(bool(standing))
            assert (found is not None) == bool(standing)
            if found is not None:
                longest = max(row.length for row in standing)
                best = [row for row in standing if row.length == longest]
                chosen = rows[int(found.id.removeprefix("R-"))]
                assert chosen in best
                assert stands_at(found, now)
                if any(row.terms.end > now for row in best):
                    assert not found.in_grace
            matches = registry.matches(address, now)
            assert [match.length for match in matches] == sorted(
                (row.length for row in around), reverse=True
            )
            assert sum(stands_at(match, now) for match in matches) == len(standing)
        everyone = rows_of(b"".join(packed), family)
        assert covered.contains_each(everyone).tolist() == verdicts
        assert_merged(covered, family)


def assert_merged(intervals: Intervals, family: Family) -> None:
    bounds = [
        (int.from_bytes(a.tobytes(), "big"), int.from_bytes(b.tobytes(), "big"))
        for a, b in zip(*intervals.of(family), strict=True)
    ]
    assert all(first <= last for first, last in bounds)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(bounds))


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("seed", range(20))
def test_parents_are_the_nearest_prefixes_around(family: Family, seed: int) -> None:
    rng = random.Random(seed)
    rows = [crowded(rng, family) for _ in range(rng.randrange(80))]
    tree = registry_of(rows).current.of(family).tree
    numbers = [int.from_bytes(row.tobytes(), "big") for row in tree.networks]
    lengths = tree.lengths.tolist()
    for row, (number, length) in enumerate(zip(numbers, lengths, strict=True)):
        around = [
            other
            for other in range(row)
            if lengths[other] <= length
            and not (number ^ numbers[other]) >> (8 * family.width - lengths[other])
        ]
        assert tree.parent(row) == max(around, default=-1)
        assert tree.length(row) == length
    chosen = np.array([rng.random() < 0.5 for _ in numbers], dtype=np.bool_)
    for row, outermost in enumerate(tree.outermost(chosen).tolist()):
        parent, inside = tree.parent(row), False
        while parent >= 0:
            inside |= bool(chosen[parent])
            parent = tree.parent(parent)
        assert outermost == (chosen[row] and not inside)
