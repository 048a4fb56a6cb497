# SPDX-License-Identifier: GPL-2.0-or-later
"""Which addresses the kernel is asked about after a change."""

from vpngate.kernel.table.readback import SAMPLE, STEP, after_change
from vpngate.packets import Family
from vpngate.prefixes.intervals import Intervals

OLD = Intervals.of_prefixes(["192.0.2.0/24", "2001:db8:1::/48"])
NEW = Intervals.of_prefixes(["192.0.2.0/25", "198.51.100.0/24", "2001:db8:1::/48"])


def test_after_a_few_changes_every_end_is_asked_about() -> None:
    asked = list(after_change(NEW, OLD.delta(NEW), anew=False))
    assert [family for family, _ in asked] == [Family.IPV4]
    assert {row.tobytes() for row in asked[0][1]} == {
        bytes((192, 0, 2, 0)),
        bytes((192, 0, 2, 127)),
        bytes((192, 0, 2, 255)),
        bytes((198, 51, 100, 0)),
        bytes((198, 51, 100, 255)),
    }


def test_many_ends_are_asked_about_bit_by_bit() -> None:
    many = Intervals.of_prefixes(f"10.{n >> 8}.{n & 255}.0/25" for n in range(STEP))
    asked = list(after_change(many, Intervals.empty().delta(many), anew=False))
    assert [len(rows) for _, rows in asked] == [STEP, STEP]


def test_of_sets_filled_anew_a_sample_is_asked_about() -> None:
    asked = list(after_change(NEW, OLD.delta(NEW), anew=True))
    for family in Family:
        number = sum(len(rows) for one, rows in asked if one is family)
        assert SAMPLE - 6 <= number <= SAMPLE
    assert max(len(rows) for _, rows in asked) <= STEP
