# SPDX-License-Identifier: GPL-2.0-or-later
"""Interval sets against sets of numbers in a universe small enough to list."""

import random
from bisect import bisect_left

import numpy as np
import pytest

from vpngate.packets import Family, parse_address
from vpngate.prefixes.intervals import Bounds, Intervals, merge
from vpngate.prefixes.rows import following, places, preceding, rows_of

# A window of 48 addresses each; the last one ends where the address space does.
BOTTOM, MIDDLE, TOP = "bottom", "middle", "top"
WINDOW = 48


def base(family: Family, place: str) -> int:
    space = 1 << 8 * family.width
    # The middle one straddles a carry through every octet but the first.
    return {BOTTOM: 0, MIDDLE: space // 2 - WINDOW // 2, TOP: space - WINDOW}[place]


def packed(numbers: list[int], family: Family) -> np.ndarray:
    return rows_of(b"".join(n.to_bytes(family.width, "big") for n in numbers), family)


def random_bounds(rng: random.Random, family: Family, place: str) -> Bounds:
    low = base(family, place)
    pairs = [sorted(rng.choices(range(WINDOW), k=2)) for _ in range(rng.randrange(8))]
    return Bounds(
        packed([low + a for a, _ in pairs], family),
        packed([low + b for _, b in pairs], family),
    )


def listed(bounds: Bounds, family: Family, place: str) -> set[int]:
    low = base(family, place)
    members: set[int] = set()
    for first, last in zip(*bounds, strict=True):
        start = int.from_bytes(first.tobytes(), "big") - low
        end = int.from_bytes(last.tobytes(), "big") - low
        assert 0 <= start <= end < WINDOW
        members |= set(range(start, end + 1))
    return members


def runs(members: set[int]) -> list[tuple[int, int]]:
    firsts = [n for n in sorted(members) if n - 1 not in members]
    lasts = [n for n in sorted(members) if n + 1 not in members]
    return list(zip(firsts, lasts, strict=True))


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("place", [BOTTOM, MIDDLE, TOP])
def test_arithmetic_equals_that_of_sets(family: Family, place: str) -> None:
    rng = random.Random(f"{family}{place}")
    low = base(family, place)
    for _ in range(300):
        raw = [random_bounds(rng, family, place) for _ in range(2)]
        one, two = (listed(bounds, family, place) for bounds in raw)
        left, right = (Intervals.of_bounds({family: bounds}) for bounds in raw)
        results = {
            "merge": (left, one),
            "union": (left.union(right), one | two),
            "difference": (left.difference(right), one - two),
        }
        for name, (result, wanted) in results.items():
            bounds = result.of(family)
            got = [
                (
                    int.from_bytes(a.tobytes(), "big") - low,
                    int.from_bytes(b.tobytes(), "big") - low,
                )
                for a, b in zip(*bounds, strict=True)
            ]
            assert got == runs(wanted), name
            assert result.addresses[family] == len(wanted)
            assert len(result) == len(runs(wanted))
        inside = left.contains_each(packed([low + n for n in range(WINDOW)], family))
        assert set(np.flatnonzero(inside).tolist()) == one
        covered = left.covers_each(raw[1]).tolist()
        assert covered == [
            listed(Bounds(a[None], b[None]), family, place) <= one
            for a, b in zip(*raw[1], strict=True)
        ]


@pytest.mark.parametrize("family", Family)
def test_a_delta_turns_one_set_of_elements_into_the_other(family: Family) -> None:
    rng = random.Random(7)

    def elements(intervals: Intervals) -> set[bytes]:
        pairs = zip(*intervals.of(family), strict=True)
        return {a.tobytes() + b.tobytes() for a, b in pairs}

    for _ in range(200):
        old, new = (
            Intervals.of_bounds({family: random_bounds(rng, family, MIDDLE)})
            for _ in range(2)
        )
        added, removed = old.delta(new)
        assert elements(removed) <= elements(old)
        assert not elements(added) & elements(old)
        assert elements(old) - elements(removed) | elements(added) == elements(new)


def test_an_interval_that_grew_is_replaced_whole() -> None:
    old = Intervals.of_prefixes(["10.0.0.0/24", "192.0.2.0/24"])
    new = Intervals.of_prefixes(["10.0.0.0/23", "192.0.2.0/24"])
    assert old.delta(new) == (
        Intervals.of_prefixes(["10.0.0.0/23"]),
        Intervals.of_prefixes(["10.0.0.0/24"]),
    )


def test_neighbours_merge_across_octets_and_families_stay_apart() -> None:
    intervals = Intervals.of_prefixes(
        ["10.255.0.0/16", "11.0.0.0/16", "2001:db8::/32", "2001:db9::/32"]
    )
    assert intervals.first4.tolist() == [[10, 255, 0, 0]]
    assert intervals.last4.tolist() == [[11, 0, 255, 255]]
    assert len(intervals.first6) == 1
    assert intervals.addresses == {Family.IPV4: 2 << 16, Family.IPV6: 2 << 96}


def test_the_whole_space_is_one_interval_and_has_no_rest() -> None:
    everything = Intervals.of_prefixes(["0.0.0.0/1", "128.0.0.0/1", "::/0"])
    assert everything == Intervals.of_prefixes(["0.0.0.0/0", "::/0"])
    assert everything.addresses == {Family.IPV4: 1 << 32, Family.IPV6: 1 << 128}
    hole = Intervals.of_prefixes(["192.0.2.0/24"])
    rest = everything.difference(hole)
    assert rest.addresses[Family.IPV4] == (1 << 32) - 256
    assert rest.union(hole) == everything
    assert everything.difference(everything) == Intervals.empty()


def test_single_addresses_are_found() -> None:
    intervals = Intervals.of_prefixes(["192.0.2.0/24", "2001:db8::/32"])
    assert intervals.contains(parse_address("192.0.2.255"))
    assert not intervals.contains(parse_address("192.0.3.0"))
    assert intervals.contains(parse_address("2001:db8:ffff::"))
    assert not intervals.contains(parse_address("2001:db9::"))
    assert not Intervals.empty().contains(parse_address("192.0.2.1"))


def test_sets_compare_by_content() -> None:
    one = Intervals.of_prefixes(["192.0.2.0/24"])
    assert one == Intervals.of_prefixes(["192.0.2.128/25", "192.0.2.0/25"])
    assert one != Intervals.of_prefixes(["192.0.2.0/25"])
    assert one != "192.0.2.0/24"
    assert Intervals.empty() == Intervals.of_prefixes([])


def test_a_text_that_is_no_prefix_is_named() -> None:
    with pytest.raises(ValueError, match="host bits"):
        Intervals.of_prefixes(["192.0.2.1/24"])


@pytest.mark.parametrize("family", Family)
def test_next_and_previous_address(family: Family) -> None:
    rng = random.Random(3)
    top = (1 << 8 * family.width) - 1
    numbers = [
        0,
        255,
        256,
        0xFFFFFF,
        top,
        top - 1,
        *(rng.randint(0, top) for _ in "ab"),
    ]
    rows = packed(numbers, family)
    after, wrapped = following(rows)
    assert after.tolist() == packed([(n + 1) & top for n in numbers], family).tolist()
    assert wrapped.tolist() == [n == top for n in numbers]
    assert (
        preceding(rows).tolist()
        == packed([n - 1 & top for n in numbers], family).tolist()
    )


def test_merging_nothing_is_nothing() -> None:
    none = rows_of(b"", Family.IPV4)
    assert len(merge(Bounds(none, none))) == 0


@pytest.mark.parametrize("family", Family)
def test_places_among_rows_that_share_an_upper_half(family: Family) -> None:
    rng = random.Random(f"places{family}")
    step = 1 << 8 * family.width // 2
    numbers = [n * step + m for n in (0, 1, 5, step - 1) for m in (0, 1, 7, step - 1)]
    for count in (0, 1, 5, len(numbers)):
        some = sorted(rng.sample(numbers, count))
        found = places(packed(some, family), packed(numbers, family))
        assert found.tolist() == [bisect_left(some, number) for number in numbers]
