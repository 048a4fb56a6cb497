# SPDX-License-Identifier: GPL-2.0-or-later
"""The grace of those whom a registry no longer has."""

import random
from typing import NoReturn

import pytest

from vpngate.packets import Family, parse_address
from vpngate.prefixes.prefix import Prefix
from vpngate.registry import (
    Limits,
    Registry,
    carry_over,
    empty_registry,
    load,
    recall_departed,
    remember_departed,
)
from vpngate.registry.grace.departures import in_force_count, removed_count
from vpngate.timekeeping.moments import Span

NOW = 1_800_000_000.0  # 2027-01-15
HOUR, DAY = 3600.0, 86400.0
GRACE = 72 * HOUR
ADDRESS = parse_address("192.0.2.1")


def registry(rows: str, grace: float = GRACE) -> Registry:
    text = "prefix,registration,tunnels,valid_from,valid_until\n" + rows
    limits = Limits(max_rejected=1, grace=grace)
    return load(text.encode(), limits=limits, now=NOW).registry


R1 = registry("192.0.2.0/24,R-1,wireguard,,\n")
NONE = registry("198.51.100.0/24,R-9\n")


def stands(what: Registry, now: float | Span) -> bool:
    found = what.lookup(ADDRESS, now)
    assert what.covered(now).contains(ADDRESS) == (found is not None)
    return found is not None


def test_a_prefix_that_disappears_stands_for_its_grace() -> None:
    merged = carry_over(R1, NONE, GRACE, NOW)
    assert stands(merged, NOW)
    assert stands(merged, NOW + GRACE - 1)
    assert not stands(merged, NOW + GRACE)
    found = merged.lookup(ADDRESS, NOW)
    assert found is not None
    assert (found.id, found.tunnels, found.in_grace) == ("R-1", ("wireguard",), True)
    assert (found.gone_since, found.stands_until) == (NOW, NOW + GRACE)
    assert str(found) == "192.0.2.0/24 as R-1 until 2027-01-18T08:00:00Z (in grace)"
    assert repr(found) == f"<Registration {found}>"
    assert merged.prefixes[Family.IPV4] == 1


def test_grace_is_not_renewed_by_further_loads() -> None:
    merged = R1
    for hours in range(0, 71, 10):
        merged = carry_over(merged, NONE, GRACE, NOW + hours * HOUR)
    assert stands(merged, NOW + GRACE - 1)
    assert not stands(merged, NOW + GRACE)
    later = carry_over(merged, NONE, GRACE, NOW + GRACE)
    assert not later.keeps


def test_a_prefix_that_returns_is_in_force_again() -> None:
    merged = carry_over(carry_over(R1, NONE, GRACE, NOW), R1, GRACE, NOW + HOUR)
    assert [match.gone_since for match in merged.matches(ADDRESS)] == [None]
    assert stands(merged, NOW + 100 * DAY)


def test_an_expired_registration_stands_for_its_grace() -> None:
    expiring = registry("192.0.2.0/24,R-1,,,2027-01-14\n")
    end = NOW - 32 * HOUR  # NOW is eight in the morning of the day after
    found = expiring.lookup(ADDRESS, NOW)
    assert found is not None
    assert found.in_grace
    assert stands(expiring, end + GRACE - 1)
    assert not stands(expiring, end + GRACE)


def test_removing_what_has_expired_does_not_lengthen_its_grace() -> None:
    expiring = registry("192.0.2.0/24,R-1,,,2027-01-14\n")
    merged = carry_over(expiring, NONE, GRACE, NOW)
    end = NOW - 32 * HOUR
    assert stands(merged, end + GRACE - 1)
    assert not stands(merged, end + GRACE)


def test_an_expired_row_that_is_still_there_is_not_kept_twice() -> None:
    expiring = registry("192.0.2.0/24,R-1,,,2027-01-14\n")
    assert not carry_over(expiring, expiring, GRACE, NOW).keeps


@pytest.mark.parametrize("dates", [",2027-01-14", "2027-02-01,"])
def test_a_date_that_no_longer_holds_gives_grace_like_a_removal(dates: str) -> None:
    edited = registry(f"192.0.2.0/24,R-1,,{dates}\n")
    merged = carry_over(R1, edited, GRACE, NOW)
    assert stands(merged, NOW + GRACE - 1)
    assert not stands(merged, NOW + GRACE)


def test_another_registration_takes_over_without_grace() -> None:
    merged = carry_over(R1, registry("192.0.0.0/16,R-2\n"), GRACE, NOW)
    assert not merged.keeps
    assert [match.id for match in merged.matches(ADDRESS)] == ["R-2"]


def test_the_longest_prefix_explains_and_of_equals_the_one_in_force() -> None:
    wide = registry("192.0.0.0/16,R-2\n192.0.2.0/24,R-3,,,2027-01-14\n")
    old = registry("192.0.2.0/24,R-1\n192.0.2.0/28,R-4\n203.0.113.0/24,R-5\n")
    merged = carry_over(old, wide, GRACE, NOW)
    assert {match.id for match in merged.matches(ADDRESS)} == {"R-2", "R-3"}
    found = merged.lookup(ADDRESS, NOW)
    assert found is not None
    assert (found.id, found.in_grace) == ("R-3", True)
    found = merged.lookup(parse_address("203.0.113.1"), NOW)
    assert found is not None
    assert found.id == "R-5"
    twice = registry("192.0.2.0/24,R-6,,,2027-01-14\n192.0.2.0/24,R-7\n")
    found = twice.lookup(ADDRESS, NOW)
    assert found is not None
    assert (found.id, found.in_grace) == ("R-7", False)
    twice = registry("192.0.2.0/24,R-6,,,2027-01-14\n192.0.0.0/16,R-7,,,2027-01-13\n")
    found = twice.lookup(ADDRESS, NOW)
    assert found is not None
    assert (found.id, found.in_grace) == ("R-6", True)


def test_kept_and_current_are_searched_together() -> None:
    old = registry("192.0.2.0/28,R-1\n192.0.0.0/16,R-0\n")
    new = registry("192.0.2.0/29,R-2\n192.0.0.0/17,R-3,,,2027-01-14\n")
    merged = carry_over(old, new, GRACE, NOW)
    names = {
        "192.0.2.1": "R-2",  # longer, and in force
        "192.0.2.9": "R-1",  # kept, and longer than the expired /17
        "192.0.128.1": "R-0",  # kept alone
        "192.0.64.1": "R-3",  # in grace, and longer than the kept one
    }
    for address, name in names.items():
        found = merged.lookup(parse_address(address), NOW)
        assert found is not None
        assert found.id == name
    assert merged.lookup(parse_address("192.1.0.0"), NOW) is None


def test_a_rejected_row_ends_nothing_while_it_is_there() -> None:
    for bad in ("192.0.2.0/24,?\n", "192.0.2.0/2x,R-1\n", "?,?\n", '"\n'):
        merged = R1
        for days in (0, 10, 100):
            merged = carry_over(merged, registry(bad), GRACE, NOW + days * DAY)
            found = merged.lookup(ADDRESS, NOW + days * DAY)
            assert found is not None
            assert not found.in_grace
            assert found.gone_since is None
        assert in_force_count(merged, NOW + 100 * DAY) == 1
        # Mended, or gone for good: from then on as ever.
        assert not carry_over(merged, R1, GRACE, NOW + 101 * DAY).keeps
        merged = carry_over(merged, NONE, GRACE, NOW + 101 * DAY)
        assert not stands(merged, NOW + 101 * DAY + GRACE)
        assert stands(merged, NOW + 101 * DAY + GRACE - 1)


def test_a_rejected_row_holds_nobody_else() -> None:
    merged = carry_over(R1, registry("203.0.113.0/24,?\n?,R-2\n"), GRACE, NOW)
    assert not stands(merged, NOW + GRACE)


def test_a_row_that_could_not_be_read_still_ends_on_its_date() -> None:
    dated = registry("192.0.2.0/24,R-1,,,2027-02-01\n")
    merged = carry_over(dated, registry("192.0.2.0/24,?\n"), GRACE, NOW)
    assert stands(merged, NOW + 19 * DAY)
    assert not stands(merged, NOW + 20 * DAY)


def test_a_clock_that_jumped_ends_nothing() -> None:
    dated = registry("192.0.2.0/24,R-1,,2027-01-01,2027-02-01\n")
    for span in (Span(NOW, NOW + 999 * DAY), Span(0.0, NOW)):
        assert stands(dated, span)
        assert stands(carry_over(dated, NONE, GRACE, span), span)
        merged = carry_over(carry_over(dated, NONE, GRACE, NOW), NONE, GRACE, span)
        assert stands(merged, span)


def test_a_clock_that_was_ahead_adds_no_grace() -> None:
    ahead = NOW + 999 * DAY
    merged = carry_over(R1, NONE, GRACE, ahead)
    merged = carry_over(merged, NONE, GRACE, NOW)
    assert stands(merged, NOW + GRACE - 1)
    assert not stands(merged, NOW + GRACE)


def test_who_left_while_the_clock_was_ahead_is_not_removed_again() -> None:
    """However many have left until the clock was put right."""
    rows = [f"10.0.{number}.0/24,R-{number}\n" for number in range(100)]
    merged = registry("".join(rows))
    for gone in range(1, 9):
        new = registry("".join(rows[gone:]))
        merged = carry_over(merged, new, GRACE, NOW + 999 * DAY)
    for now in (NOW, Span(NOW, NOW + DAY), NOW + 999 * DAY):
        assert in_force_count(merged, now) == 92
        assert removed_count(merged, registry("".join(rows[9:])), now) == 1


def test_counts_of_those_in_force_and_removed() -> None:
    ended = "10.0.0.0/8,R-2,,,2027-01-14\n"
    old = registry(f"192.0.2.0/24,R-1\n{ended}2001:db8::/32,R-3\n")
    assert in_force_count(old, NOW) == 2
    assert removed_count(old, NONE, NOW) == 2
    assert removed_count(old, R1, NOW) == 1
    assert removed_count(old, registry("?,R-3\n"), NOW) == 1
    assert removed_count(old, registry("?,?\n"), NOW) == 0


def test_the_departed_are_remembered_across_runs() -> None:
    rng = random.Random(11)
    rows = [
        f"10.{rng.randrange(256)}.{rng.randrange(256)}.0/{rng.randint(24, 30)},R-{at},"
        f"{'+'.join(rng.sample(['wireguard', 'openvpn', 'l2tp'], rng.randrange(3)))},"
        f"{rng.choice(['', '2026-01-01'])},{rng.choice(['', '2027-01-16T09:30:00.5Z'])}"
        "\n"
        for at in range(200)
    ]
    old = registry("".join(rows) + "2001:db8::/32,R-6\n")
    merged = carry_over(
        old, registry("10.1.0.0/16,?\n198.51.100.0/24,R-9\n"), GRACE, NOW
    )
    again = recall_departed(NONE, remember_departed(merged))
    assert again.keeps
    for now in (NOW, NOW + DAY, NOW + 2 * DAY, NOW + 3 * DAY, NOW + 30 * DAY):
        assert again.covered(now) == merged.covered(now)
    assert [*map(len, again.kept)] == [*map(len, merged.kept)]
    assert remember_departed(again) == remember_departed(merged)
    assert not recall_departed(NONE, remember_departed(empty_registry())).keeps


@pytest.mark.parametrize(
    "memory",
    [
        b"192.0.2.0/24,R-1,,-inf,inf",
        b"192.0.2.0/24,R-1,,-inf,inf,inf,",
        b"192.0.2.1/24,R-1,,-inf,inf,0.0",
        b"192.0.2.0/24,R 1,,-inf,inf,0.0",
        b"192.0.2.0/24,R-1,A,-inf,inf,0.0",
        b"192.0.2.0/24,R-1,,-inf,soon,0.0",
        b"192.0.2.0/24,R-1,,-inf,inf,0.\xff",
        b"192.0.2.0/24,R-1,,-inf,nan,0.0",
    ],
)
def test_a_damaged_memory_is_told(memory: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        recall_departed(NONE, memory)


def test_expiring_registrations_are_counted() -> None:
    some = registry(
        "10.0.0.0/24,R-1,,,2027-01-16\n"  # in 16 hours
        "10.0.1.0/24,R-2,,,2027-01-20\n"
        "10.0.2.0/24,R-3,,,2027-02-20\n"
        "10.0.3.0/24,R-4\n"
        "10.0.4.0/24,R-5,,,2027-01-15\n"  # over
        "2001:db8::/32,R-6,,2027-01-16,2027-01-17\n"  # still to come
    )
    assert some.expiring(NOW, DAY) == 1
    assert some.expiring(NOW, 7 * DAY) == 2
    assert some.expiring(NOW, 365 * DAY) == 3


def test_the_next_change_of_coverage_is_known() -> None:
    rows = (
        "10.0.0.0/24,R-1,,,2027-01-20\n"
        "10.0.1.0/24,R-2,,2027-01-16,2027-01-17\n"
        "2001:db8::/32,R-3,,2027-03-01\n"
    )
    merged = carry_over(R1, registry(rows), GRACE, NOW)
    changes, now = [], NOW
    while (change := merged.next_change(now)) is not None:
        assert merged.covered(change - 1) == merged.covered(now)
        assert merged.covered(change) != merged.covered(now)
        changes.append((change - NOW) / HOUR)
        now = change
    # R-2 begins, R-1 of before is over, R-2 is, R-1 is, R-3 begins.
    assert changes == [16, 72, 16 + 24 + 72, 16 + 96 + 72, 16 + 44 * 24]
    assert NONE.next_change(NOW) is None
    assert empty_registry().next_change(NOW) is None
    assert merged.next_change(Span(0.0, NOW)) == NOW + 16 * HOUR


def test_where_no_row_was_rejected_no_prefix_is_taken_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A million that leave would take a minute, and no other thread has its turn."""

    def taken_apart(prefix: Prefix) -> NoReturn:
        pytest.fail(f"for whom was {prefix} taken apart?")

    monkeypatch.setattr(Prefix, "enclosing", taken_apart)
    old = registry("192.0.2.0/24,R-1,,,\n")
    kept = carry_over(old, registry("198.51.100.0/24,R-2,,,\n"), GRACE, NOW)
    assert kept.lookup(ADDRESS, NOW) is not None
