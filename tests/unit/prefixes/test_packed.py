# SPDX-License-Identifier: GPL-2.0-or-later
"""Intervals as bytes: what comes back is what went, and nothing else comes back."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpngate.packets import Family
from vpngate.prefixes.intervals import Bounds, Intervals
from vpngate.prefixes.packed import STRETCH, pack, size_of, unpack
from vpngate.prefixes.rows import rows_of

SOME = Intervals.of_prefixes(["192.0.2.0/24", "10.0.0.0/8", "2001:db8::/32"])


def raw(*pairs: tuple[int, int], family: Family = Family.IPV4) -> bytes:
    """These intervals of one family as they would be packed, whatever they are."""
    numbers = [n for pair in zip(*pairs, strict=True) for n in pair] if pairs else []
    counts = [len(pairs) if f is family else 0 for f in Family]
    head = struct.pack("<8sQQ", b"vpngate1", *counts)
    return head + b"".join(n.to_bytes(family.width) for n in numbers)


def ends(family: Family) -> st.SearchStrategy[list[tuple[int, int]]]:
    numbers = st.integers(0, 2 ** (8 * family.width) - 1)
    pairs = st.tuples(numbers, numbers).map(lambda pair: (min(pair), max(pair)))
    return st.lists(pairs, max_size=8)


def intervals(of: dict[Family, list[tuple[int, int]]]) -> Intervals:
    bounds = {}
    for family, pairs in of.items():
        columns = (
            rows_of(b"".join(pair[n].to_bytes(family.width) for pair in pairs), family)
            for n in (0, 1)
        )
        bounds[family] = Bounds(*columns)
    return Intervals.of_bounds(bounds)


@given(st.fixed_dictionaries({family: ends(family) for family in Family}))
def test_what_is_packed_comes_back(of: dict[Family, list[tuple[int, int]]]) -> None:
    some = intervals(of)
    packed = pack(some)
    assert unpack(packed) == some
    assert len(packed) <= size_of(len(some))


def test_nobody_and_everybody() -> None:
    everybody = Intervals.of_prefixes(["0.0.0.0/0", "::/0"])
    for some in (Intervals.empty(), everybody):
        assert unpack(pack(some)) == some


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "too short"),
        (b"x" * 24, "no intervals"),
        (pack(SOME)[:-1], "not as many"),
        (pack(SOME) + b"\0", "not as many"),
        (struct.pack("<8sQQ", b"vpngate1", 2**64 - 1, 2**64 - 1), "not as many"),
        (raw((9, 5)), "out of order"),
        (raw((5, 9), (9, 12)), "meet"),
        (raw((5, 9), (10, 12)), "meet"),
        (raw((20, 30), (5, 9)), "out of order"),
        (raw((0, 2**32 - 1), (5, 9)), "meet"),
        (raw((5, 9), (8, 12), family=Family.IPV6), "meet"),
    ],
)
def test_what_is_no_set_is_none(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        unpack(data)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_set_or_refused(data: bytes) -> None:
    try:
        found = unpack(data)
    except ValueError:
        return
    assert pack(found) == data


@given(st.data())
def test_a_set_that_was_tampered_with_is_another_or_none(data: st.DataObject) -> None:
    packed = bytearray(pack(SOME))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    try:
        found = unpack(packed)
    except ValueError:
        return
    assert pack(found) == bytes(packed)


def test_intervals_are_held_against_each_other_also_where_a_stretch_ends() -> None:
    many = [(16 * n, 16 * n + 3) for n in range(3 * STRETCH)]
    assert len(unpack(raw(*many))) == len(many)
    for at in (STRETCH - 1, STRETCH, STRETCH + 1, 2 * STRETCH, len(many) - 1):
        wrong = [*many[:at], (many[at - 1][1] + 1, many[at][1]), *many[at + 1 :]]
        with pytest.raises(ValueError, match="meet"):
            unpack(raw(*wrong))
