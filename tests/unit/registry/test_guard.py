# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guard refuses, and what a person may overrule."""

import json
from typing import Any

import pytest

from vpngate.errors import RegistryRefused
from vpngate.packets import Family
from vpngate.registry import (
    Accept,
    GuardSettings,
    Limits,
    Refusal,
    Registry,
    carry_over,
    empty_registry,
    guard,
    load,
    objections,
)
from vpngate.timekeeping.moments import Span

NOW = 1_800_000_000.0
DAY = 86400.0
SETTINGS = GuardSettings()


def registry(*prefixes: str, until: str = "", bad: str = "") -> Registry:
    rows = [f"{prefix},R-{at},,,{until}\n" for at, prefix in enumerate(prefixes)]
    text = "prefix,registration,tunnels,valid_from,valid_until\n" + "".join(rows) + bad
    return load(text.encode(), limits=Limits(max_rejected=1), now=NOW).registry


def envelope(**keys: Any) -> Registry:
    item = {"prefix": "192.0.2.0/24", "registration": "R-1"}
    text = json.dumps({"registrations": [item]} | keys)
    return load(text.encode(), limits=Limits(), now=NOW).registry


def many(count: int, start: int = 0) -> list[str]:
    # Every other network, so that none of them merge.
    return [f"10.{n >> 7}.{2 * n & 255}.0/24" for n in range(start, start + count)]


OK = registry("192.0.2.0/24")
CASES = {
    Refusal.EMPTY: (None, registry(), SETTINGS),
    Refusal.EXPIRED: (None, envelope(expires="2026-12-31"), SETTINGS),
    Refusal.DEFAULT_ROUTE: (None, registry("0.0.0.0/0", "::/0"), SETTINGS),
    Refusal.PREFIX_TOO_SHORT: (
        None,
        registry("192.0.2.0/24", "10.0.0.0/7"),
        SETTINGS,
    ),
    Refusal.SENTINEL_MISSING: (
        None,
        OK,
        GuardSettings(sentinels=("192.0.2.0/24", "198.51.100.0/24")),
    ),
    Refusal.OTHER_REGISTRY: (
        envelope(registry="a"),
        envelope(registry="b"),
        SETTINGS,
    ),
    Refusal.SERIAL_OLDER: (envelope(serial=2), envelope(serial=1), SETTINGS),
    Refusal.SERIAL_MISSING: (envelope(serial=2), envelope(), SETTINGS),
    Refusal.SERIAL_REUSED: (
        envelope(serial=2),
        envelope(serial=2, registry="a"),
        SETTINGS,
    ),
    Refusal.REMOVED_TOO_MANY: (registry(*many(100)), registry(*many(94)), SETTINGS),
    Refusal.ADDED_TOO_MANY: (OK, registry("192.0.2.0/24", "10.0.0.0/8"), SETTINGS),
    Refusal.SPECIAL_RANGE: (
        None,
        registry("192.0.2.0/24", "127.0.0.8/32"),
        SETTINGS,
    ),
}
MENDED_ONLY = {
    Refusal.EXPIRED,
    Refusal.DEFAULT_ROUTE,
    Refusal.PREFIX_TOO_SHORT,
    Refusal.SERIAL_REUSED,
    Refusal.SPECIAL_RANGE,
}


def test_every_reason_has_its_case() -> None:
    assert set(CASES) == set(Refusal)


@pytest.mark.parametrize("reason", Refusal)
def test_each_mistake_is_refused_for_its_reason(reason: Refusal) -> None:
    old, new, settings = CASES[reason]
    assert [each.reason for each in objections(old, new, settings, NOW)] == [reason] * (
        2 if reason is Refusal.DEFAULT_ROUTE else 1
    )
    with pytest.raises(RegistryRefused) as error:
        guard(old, new, settings, NOW)
    assert error.value.reason == reason.value
    assert len(error.value.lines) == 1


@pytest.mark.parametrize("reason", Refusal)
def test_a_person_overrules_only_what_a_person_may(reason: Refusal) -> None:
    old, new, settings = CASES[reason]
    assert reason.overridable == (reason not in MENDED_ONLY)
    if reason in MENDED_ONLY:
        with pytest.raises(RegistryRefused):
            guard(old, new, settings, NOW, accept=tuple(Accept))
    else:
        guard(old, new, settings, NOW, accept=tuple(Accept))


def test_what_nobody_may_overrule_comes_first() -> None:
    new = registry("10.0.0.0/7")
    settings = GuardSettings(sentinels=("192.0.2.0/24",))
    assert [each.reason for each in objections(OK, new, settings, NOW)] == [
        Refusal.PREFIX_TOO_SHORT,
        Refusal.SENTINEL_MISSING,
        Refusal.REMOVED_TOO_MANY,
        Refusal.ADDED_TOO_MANY,
    ]


def test_a_word_accepts_what_it_says_and_nothing_else() -> None:
    old = registry(*many(100))
    new = registry(*many(50), "172.16.0.0/12")
    for word, left in (
        (Accept.REMOVALS, Refusal.ADDED_TOO_MANY),
        (Accept.ADDITIONS, Refusal.REMOVED_TOO_MANY),
        (Accept.OLDER, Refusal.REMOVED_TOO_MANY),
    ):
        with pytest.raises(RegistryRefused) as caught:
            guard(old, new, SETTINGS, NOW, [word])
        assert caught.value.reason == left.value
    guard(old, new, SETTINGS, NOW, [Accept.REMOVALS, Accept.ADDITIONS])


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        ("10.0.0.0/16", "10.0.0.0/15", False),  # one allocation more, of any share
        ("10.0.0.0/16", "10.0.0.0/14", True),
        ("10.0.0.0/12", "10.0.0.0/11", True),
        ("2001:db8::/32", "2001:db8::/31", False),
        ("2001:db8::/32", "2001:db8::/29", True),
        ("192.0.2.0/24", "2400::/20", True),  # the other family
    ],
)
def test_how_much_may_come_at_once(before: str, after: str, *, refused: bool) -> None:
    found = objections(registry(before), registry(before, after), SETTINGS, NOW)
    wanted = [Refusal.ADDED_TOO_MANY] if refused else []
    assert [each.reason for each in found] == wanted
    assert objections(empty_registry(), registry(after), SETTINGS, NOW) == ()


@pytest.mark.parametrize(
    ("prefix", "special"),
    [
        *(("0.0.0.0/32", True), ("127.0.0.0/8", True), ("169.254.9.0/24", True)),
        *(("224.0.0.0/8", True), ("255.255.255.255/32", True)),
        *(("100.64.0.0/10", True), ("100.0.0.0/8", True), ("100.128.0.0/9", False)),
        *(("10.0.0.0/8", False), ("192.168.0.0/16", False), ("192.0.2.0/24", False)),
        *(("::1/128", True), ("fe80::/64", True), ("ff02::1/128", True)),
        *(("fd00::/32", False), ("2001:db8::/32", False), ("64:ff9b::/96", False)),
    ],
)
def test_ranges_that_are_nobodys(prefix: str, *, special: bool) -> None:
    new = registry("198.51.100.0/24", prefix)
    wanted = [Refusal.SPECIAL_RANGE] if special else []
    assert [x.reason for x in objections(None, new, SETTINGS, NOW)] == wanted
    assert objections(None, new, GuardSettings(allow_special=True), NOW) == ()


def test_a_good_registry_passes_first_and_after_another() -> None:
    guard(None, OK, SETTINGS, NOW)
    guard(OK, OK, SETTINGS, NOW)
    guard(empty_registry(), OK, SETTINGS, NOW)
    guard(
        envelope(serial=2, registry="a"),
        envelope(serial=3, registry="a"),
        SETTINGS,
        NOW,
    )
    guard(envelope(serial=2), envelope(serial=2), SETTINGS, NOW)
    guard(OK, envelope(serial=1, registry="a"), SETTINGS, NOW)


@pytest.mark.parametrize(
    ("gone", "refused"), [(0, False), (5, False), (6, True), (100, True)]
)
def test_exactly_the_share_allowed_may_go(gone: int, *, refused: bool) -> None:
    old, new = registry(*many(100)), registry(*many(100 - gone), "192.0.2.0/24")
    reasons = [each.reason for each in objections(old, new, SETTINGS, NOW)]
    assert reasons == ([Refusal.REMOVED_TOO_MANY] if refused else [])


def test_prefixes_cut_merged_or_renamed_are_not_gone() -> None:
    old = registry("10.0.0.0/24", "10.0.1.0/24", "10.2.0.0/16")
    cut = registry("10.2.0.0/17", "10.2.128.0/17", "10.0.0.0/23")
    assert objections(old, cut, SETTINGS, NOW) == ()


def test_a_prefix_of_which_a_part_is_left_is_gone() -> None:
    new = registry("10.2.0.0/17", "10.2.128.0/18")
    found = objections(registry("10.2.0.0/16"), new, SETTINGS, NOW)
    assert [each.reason for each in found] == [Refusal.REMOVED_TOO_MANY]


def test_a_date_that_no_longer_holds_counts_as_gone() -> None:
    old = registry(*many(10))
    new = registry(*many(10), until="2026-12-31")
    assert [each.reason for each in objections(old, new, SETTINGS, NOW)] == [
        Refusal.EMPTY,
        Refusal.REMOVED_TOO_MANY,
    ]


def test_what_had_ended_by_itself_does_not_count_as_gone() -> None:
    old = registry("192.0.2.0/24")
    both = registry("192.0.2.0/24", "10.0.0.0/24", until="2026-12-31")
    merged = carry_over(both, old, 30 * DAY, NOW)
    assert objections(merged, old, SETTINGS, NOW) == ()
    assert objections(both, old, SETTINGS, NOW) == ()


def test_those_in_grace_do_not_count_a_second_time() -> None:
    old, fewer = registry(*many(100)), registry(*many(96))
    merged = carry_over(old, fewer, 3 * DAY, NOW)
    assert objections(merged, registry(*many(92)), SETTINGS, NOW + 60) == ()
    assert objections(merged, registry(*many(91)), SETTINGS, NOW + 60) != ()


def test_unreadable_rows_do_not_count_as_gone() -> None:
    old = registry(*many(20))
    unreadable = "".join(f"{prefix},?\n" for prefix in many(5, 15))
    assert objections(old, registry(*many(15), bad=unreadable), SETTINGS, NOW) == ()
    assert objections(old, registry(*many(15), bad='"\n'), SETTINGS, NOW) == ()
    assert objections(old, registry(*many(13), bad=unreadable), SETTINGS, NOW) != ()


def test_prefixes_may_be_as_short_as_configured() -> None:
    settings = GuardSettings(min_prefix_length={Family.IPV4: 7, Family.IPV6: 32})
    guard(None, registry("10.0.0.0/7", "2001:db8::/32"), settings, NOW)
    with pytest.raises(
        RegistryRefused, match=r"2001:c00::/22 as R-0 and 1 more: .*/32"
    ):
        guard(None, registry("2001:c00::/22", "2002::/23"), settings, NOW)
    anything = GuardSettings(min_prefix_length={})
    guard(None, registry("128.0.0.0/1", "8000::/1"), anything, NOW)
    with pytest.raises(RegistryRefused, match="default route"):
        guard(None, registry("::/0"), anything, NOW)


def test_sentinels_are_of_the_settings_and_of_the_envelope() -> None:
    new = envelope(sentinels=["192.0.2.0/25", "203.0.113.0/24"])
    settings = GuardSettings(sentinels=("203.0.113.0/24", "2001:db8::/32"))
    told = [str(each.problem) for each in objections(None, new, settings, NOW)]
    assert [line.split(":", 1)[0] for line in told] == [
        "sentinel 203.0.113.0/24",
        "sentinel 2001",
    ]


def test_a_clock_in_doubt_does_not_make_an_envelope_expire() -> None:
    new = envelope(expires="2027-01-15")
    ahead = NOW + 365 * DAY
    guard(None, new, SETTINGS, Span(NOW - 10 * DAY, ahead))
    with pytest.raises(RegistryRefused, match="expired at 2027-01-15T00:00:00Z"):
        guard(None, new, SETTINGS, ahead)
