# SPDX-License-Identifier: GPL-2.0-or-later
"""What tells at a glance that gateways hold the same: a digest; and who is in grace."""

import json
from dataclasses import replace
from random import Random

from vpngate.packets import Family
from vpngate.registry import Limits, Registry, carry_over, load

NOW = 1_800_000_000.0
DAY = 86400.0
HEAD = "prefix,registration,valid_until\n"


def registry(*prefixes: str) -> Registry:
    rows = "".join(f"{prefix},R-1,\n" for prefix in prefixes)
    return load((HEAD + rows).encode(), limits=Limits(), now=NOW).registry


def test_the_same_addresses_have_one_digest_however_they_are_written() -> None:
    whole = registry("198.51.100.0/24", "2001:db8::/32")
    parts = registry("198.51.100.128/25", "2001:db8::/32", "198.51.100.0/25")
    nested = registry("198.51.100.0/24", "2001:db8:7::/48", "2001:db8::/32")
    page = {
        "registrations": [
            {"prefix": prefix, "registration": "R-9"}
            for prefix in ("2001:db8::/32", "198.51.100.0/24")
        ]
    }
    other_form = load(json.dumps(page).encode(), limits=Limits(), now=NOW).registry
    digests = {r.intervals_digest for r in (whole, parts, nested, other_form)}
    assert len(digests) == 1
    assert len(digests.pop()) == 16


def test_any_other_set_has_another() -> None:
    random = Random(7)
    seen = {registry().intervals_digest: frozenset[int]()}
    for _ in range(50):
        numbers = frozenset(random.sample(range(1, 200, 2), random.randint(1, 6)))
        digest = registry(*(f"203.0.{n}.0/24" for n in numbers)).intervals_digest
        assert seen.setdefault(digest, numbers) == numbers


def test_a_family_is_not_taken_for_the_other() -> None:
    four, six = registry("32.1.13.184/32"), registry("2001:db8::/32")
    assert four.intervals_digest != six.intervals_digest
    assert registry().intervals_digest not in {
        four.intervals_digest,
        six.intervals_digest,
    }


def test_who_is_in_grace_changes_no_digest_and_is_counted() -> None:
    old = registry("203.0.113.0/24", "198.51.100.0/24", "2001:db8::/32")
    new = registry("203.0.113.0/24")
    carried = carry_over(old, new, DAY, NOW)
    assert carried.intervals_digest == new.intervals_digest
    assert new.in_grace(NOW) == {Family.IPV4: 0, Family.IPV6: 0}
    assert carried.in_grace(NOW) == {Family.IPV4: 1, Family.IPV6: 1}
    assert carried.in_grace(NOW + DAY + 1) == {Family.IPV4: 0, Family.IPV6: 0}


def test_an_ended_registration_is_in_grace_until_that_is_over() -> None:
    rows = f"{HEAD}203.0.113.0/24,R-1,2027-01-16\n203.0.114.0/24,R-2,\n"
    loaded = load(rows.encode(), limits=Limits(grace=DAY), now=NOW).registry
    end = 1_800_057_600.0
    counted = [loaded.in_grace(end + at)[Family.IPV4] for at in (-1, 0, DAY - 1, DAY)]
    assert counted == [0, 1, 1, 0]


def test_what_was_worked_out_once_is_not_again() -> None:
    one = registry("203.0.113.0/24")
    digest = one.current.ipv4.digest
    # Another grace makes another registry of the same roll.
    assert replace(one, grace=5.0).current.ipv4.__dict__["digest"] is digest
