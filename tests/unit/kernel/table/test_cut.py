# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses shared out over parts, beside a scan that knows no parts."""

from ipaddress import ip_address
from random import Random

import numpy as np
import pytest

from vpngate.kernel.table import cut
from vpngate.kernel.table.cut import MOST, SHARE, Cut
from vpngate.packets import Family
from vpngate.prefixes.intervals import Bounds, Intervals
from vpngate.prefixes.rows import Rows, rows_of

SEED = 20261126
BITS = {Family.IPV4: 32, Family.IPV6: 128}


def rows(numbers: list[int], family: Family) -> Rows:
    packed = b"".join(number.to_bytes(family.width, "big") for number in numbers)
    return rows_of(packed, family)


def intervals(family: Family, pairs: list[tuple[int, int]]) -> Intervals:
    first, last = (rows([pair[end] for pair in pairs], family) for end in (0, 1))
    return Intervals.of_bounds({family: Bounds(first, last)})


def numbers(bounds: Bounds) -> list[tuple[int, int]]:
    return [
        (int.from_bytes(first.tobytes(), "big"), int.from_bytes(last.tobytes(), "big"))
        for first, last in zip(*bounds, strict=True)
    ]


def anywhere(rng: Random, family: Family, space: range) -> Intervals:
    pairs = []
    for _ in range(rng.randrange(1, 60)):
        start = rng.choice([space.start, rng.randrange(space.start, space.stop)])
        length = rng.choice([1, 2, 2 ** rng.randrange(1, 30)])
        pairs.append((start, min(start + length, space.stop) - 1))
    pairs.append((space.stop - 1, space.stop - 1))
    return intervals(family, pairs)


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("clustered", [True, False])
def test_pieces_are_the_same_addresses_each_in_the_part_that_is_asked(
    monkeypatch: pytest.MonkeyPatch, family: Family, *, clustered: bool
) -> None:
    monkeypatch.setattr(cut, "SHARE", 3)
    rng = Random(SEED)
    whole = 1 << BITS[family]
    space = range(10 << BITS[family] - 8, 11 << BITS[family] - 8)
    space = space if clustered else range(whole)
    for turn in range(200):
        where = f"seed {SEED}, turn {turn}"
        held = anywhere(rng, family, space)
        one = Cut(1, held)
        for later in (held, anywhere(rng, family, space)):
            pieces = one.pieces(later)
            found = numbers(pieces.of(family))
            assert Intervals.of_bounds({family: pieces.of(family)}) == later, where
            parts = one.part_of(family, pieces.of(family).first).tolist()
            assert parts == one.part_of(family, pieces.of(family).last).tolist(), where
            assert parts == sorted(parts), where
            assert found == sorted(found), where
            ends = one.ends(family, pieces.of(family)).tolist()
            counted = [sum(p <= part for p in parts) for part in range(len(ends))]
            assert ends == counted, where
        assert one.pieces(held) == held, f"{where}: nothing straddles a cut at first"


@pytest.mark.parametrize(
    ("number", "parts"),
    [(0, 1), (1, 1), (SHARE, 1), (10 * SHARE, 10), (MOST * SHARE * 2, MOST)],
)
def test_there_is_a_part_for_each_share_and_no_more_than_so_many(
    number: int, parts: int
) -> None:
    first = np.arange(number, dtype=np.uint32) * 2
    few = first.astype(">u4").view(np.uint8).reshape(-1, 4)
    held = Intervals.of_bounds({Family.IPV4: Bounds(few, few)})
    one = Cut(1, held)
    assert one.parts(Family.IPV4) == len(one.names(Family.IPV4)) == parts
    assert one.parts(Family.IPV6) == 1
    sizes = np.diff(one.ends(Family.IPV4, held.of(Family.IPV4)), prepend=0)
    assert sizes.max() - sizes.min() <= 1
    assert not one.overgrown(held)


def test_a_small_registry_is_one_set_without_a_number() -> None:
    one = Cut(3, Intervals.of_prefixes(["192.0.2.0/24"]))
    assert one.names(Family.IPV4) == ["spared_ipv4_3"]


def test_what_grows_in_one_place_is_cut_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut, "SHARE", 10)
    spread = [(number << 24, number << 24) for number in range(100)]
    one = Cut(1, intervals(Family.IPV4, spread))
    assert one.parts(Family.IPV4) == 10
    start = int(ip_address("10.0.0.2"))
    for more, outgrown in ((5, False), (10, False), (11, True)):
        here = [(start + 2 * number, start + 2 * number) for number in range(more)]
        held = one.pieces(intervals(Family.IPV4, spread + here))
        assert one.overgrown(held) is outgrown


def test_the_ends_of_the_address_space_are_in_the_first_part_and_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cut, "SHARE", 1)
    for family in Family:
        top = (1 << BITS[family]) - 1
        one = Cut(1, intervals(family, [(0, 0), (1 << 20, 1 << 21), (top, top)]))
        ends = one.part_of(family, rows([0, top], family)).tolist()
        assert ends == [0, 2]
        everything = one.pieces(intervals(family, [(0, top)]))
        assert len(everything) == one.parts(family) == 3
