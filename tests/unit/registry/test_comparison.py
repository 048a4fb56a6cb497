# SPDX-License-Identifier: GPL-2.0-or-later
"""Two registries side by side."""

from dataclasses import replace

import pytest

from vpngate.packets import Family
from vpngate.prefixes.intervals import Intervals
from vpngate.registry import (
    Limits,
    Registry,
    SuspendChange,
    carry_over,
    compare,
    empty_registry,
    impact,
    load,
)
from vpngate.registry.columns.entries import Row

NOW = 1_800_000_000.0
OLD = """\
10.0.0.0/24,R-1,wireguard,,
10.0.1.0/24,R-2,wireguard+openvpn,,2028-01-01
10.0.2.0/24,R-3
192.0.2.0/24,R-4,,,2026-01-01
2001:db8::/32,R-5
"""


def registry(rows: str) -> Registry:
    text = "prefix,registration,tunnels,valid_from,valid_until\n" + rows
    return load(text.encode(), limits=Limits(), now=NOW).registry


def names(rows: tuple[Row, ...]) -> list[tuple[str, str]]:
    return [(str(row.prefix), row.id) for row in rows]


def test_nothing_differs_whatever_the_order() -> None:
    again = "2001:db8:0::/32,R-5\n" + "".join(
        reversed(OLD.splitlines(keepends=True)[:4])
    )
    found = compare(registry(OLD), registry(again), NOW)
    assert not found
    assert len(found.gained) == len(found.lost) == 0
    assert not compare(empty_registry(), empty_registry(), NOW)


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("R-2,wireguard+openvpn,", "R-2,,"),
        ("R-2,wireguard+openvpn,", "R-2,l2tp,"),
        ("10.0.2.0/24,R-3", "10.0.2.0/24,R-3,,2026-01-01"),
        ("10.0.2.0/24,R-3", "10.0.2.0/24,R-3,,,2030-01-01"),
    ],
)
def test_other_terms_are_a_change(line: str, instead: str) -> None:
    found = compare(registry(OLD), registry(OLD.replace(line, instead)), NOW)
    assert found
    assert found.added == found.removed == ()
    (change,) = found.changed
    assert change.old.prefix == change.new.prefix
    assert change.old.id == change.new.id
    assert change.old.terms != change.new.terms
    assert len(found.lost) == len(found.gained) == 0


def test_a_change_of_suspend_is_one() -> None:
    old = registry(OLD)
    new = replace(old, suspend="why")
    assert compare(old, old, NOW).suspend is None
    assert compare(new, new, NOW).suspend is None
    found = compare(old, new, NOW)
    assert found
    assert found.suspend == SuspendChange("", "why")
    assert compare(new, old, NOW).suspend == SuspendChange("why", "")
    assert found.added == found.removed == ()
    assert found.changed == ()


def test_what_suspends_still_does_once_the_departed_are_there() -> None:
    new = replace(registry(OLD), suspend="why")
    assert carry_over(registry(OLD), new, 3600.0, NOW).suspend == "why"


def test_rows_come_and_go() -> None:
    new = OLD.replace("10.0.0.0/24,R-1", "10.0.0.0/25,R-1").replace("R-5", "R-6")
    found = compare(registry(OLD), registry(new), NOW)
    assert names(found.added) == [("10.0.0.0/25", "R-1"), ("2001:db8::/32", "R-6")]
    assert names(found.removed) == [("10.0.0.0/24", "R-1"), ("2001:db8::/32", "R-5")]
    assert found.changed == ()
    assert found.lost == Intervals.of_prefixes(["10.0.0.128/25"])
    assert found.gained == Intervals.empty()


def test_one_name_may_hold_a_prefix_twice() -> None:
    old = registry("10.0.0.0/24,R-1,,,2026-01-01\n10.0.0.0/24,R-1,,2027-01-01\n")
    new = registry("10.0.0.0/24,R-1,,2027-02-01\n")
    found = compare(old, new, NOW)
    assert len(found.changed) == len(found.removed) == 1
    assert found.lost == Intervals.of_prefixes(["10.0.0.0/24"])


def test_every_row_of_another_registry_differs() -> None:
    found = compare(empty_registry(), registry(OLD), NOW)
    assert len(found.added) == 5
    assert found.gained == registry(OLD).in_force(NOW)
    assert len(compare(registry(OLD), empty_registry(), NOW).removed) == 5


def test_impact_is_in_addresses() -> None:
    new = registry("10.0.0.0/23,R-1\n10.0.0.0/24,R-2\n203.0.113.0/28,R-3\n")
    first = impact(None, new, NOW)
    assert first.prefixes == {Family.IPV4: 3, Family.IPV6: 0}
    assert first.covered == {Family.IPV4: 512 + 16, Family.IPV6: 0}
    assert first.gained == first.covered
    assert first.lost == {Family.IPV4: 0, Family.IPV6: 0}
    second = impact(registry(OLD), new, NOW)
    assert second.gained == {Family.IPV4: 16, Family.IPV6: 0}
    assert second.lost == {Family.IPV4: 256, Family.IPV6: 1 << 96}
    kept = impact(registry(OLD), carry_over(registry(OLD), new, 60.0, NOW), NOW)
    assert kept.lost == {Family.IPV4: 0, Family.IPV6: 0}
