# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said of an address or a prefix is what the registry says of it, and when."""

from dataclasses import replace
from random import Random

import pytest
from netaddr import IPNetwork

from tests.unit.daemon.gatehouse import CONFIG, NOW, registry, snapshot
from vpngate.packets import Family, parse_address
from vpngate.prefixes.intervals import Intervals
from vpngate.public.address_standing import AddressStanding, standing_of
from vpngate.public.question import about, parse_question
from vpngate.registry import carry_over
from vpngate.snapshot import Snapshot
from vpngate.timekeeping.moments import Span, When, format_moment

DAY = 86400.0


def day(number: float) -> str:
    return format_moment(NOW + number * DAY)


ROWS = f"""prefix,registration,tunnels,valid_from,valid_until
203.0.113.0/24,R-1,,,
203.0.113.64/26,R-64,,,{day(3)}
203.0.113.128/26,R-128,,,
198.51.100.0/25,R-SOON,,,{day(3)}
198.51.100.128/25,R-PAST,,,{day(-2)}
192.0.2.0/25,R-LATER,,{day(5)},
192.0.2.128/25,R-LONG-PAST,,,{day(-40)}
233.252.0.0/24,R-LEFT,,,
2001:db8:a::/48,R-6,,,
"""
PROTECT = '[protect]\nprefixes = ["198.18.0.0/24", "2001:db8:77::/48"]\n'


@pytest.fixture(scope="module")
def standing() -> Snapshot:
    return kept(snapshot(CONFIG + PROTECT, ROWS))


def kept(made: Snapshot) -> Snapshot:
    """With one that has left the registry a day ago, and one of three days' grace."""
    old = registry("prefix,registration\n198.19.0.0/24,R-GONE\n")
    both = carry_over(old, made.registry, 3 * DAY, NOW - DAY)
    return replace(made, registry=both)


def spared_by(of: Snapshot) -> Intervals:
    return of.registry.covered(NOW)


def ask(standing: Snapshot, text: str, now: When = NOW) -> AddressStanding:
    return standing_of(parse_question(text), standing, now, spared_by)


@pytest.mark.parametrize(
    ("text", "kind", "registration"),
    [
        ("203.0.113.7", "registered", "R-1"),
        # One that ends inside one that does not.
        ("203.0.113.70", "registered", "R-1"),
        ("203.0.113.130", "registered", "R-128"),
        ("203.0.113.0/24", "registered", "R-1"),
        ("203.0.113.64/27", "registered", "R-1"),
        ("203.0.113.128/26", "registered", "R-128"),
        ("203.0.113.0/25", "registered", "R-1"),
        ("::ffff:203.0.113.7", "registered", "R-1"),
        ("2001:db8:a::1", "registered", "R-6"),
        ("2001:db8:a:1::/64", "registered", "R-6"),
        ("198.51.100.1", "ending", "R-SOON"),
        ("198.51.100.200", "grace", "R-PAST"),
        ("198.19.0.1", "grace", "R-GONE"),
        ("198.19.0.0/25", "grace", "R-GONE"),
        ("192.0.2.1", "later", "R-LATER"),
        ("192.0.2.200", "not", "R-LONG-PAST"),
        ("203.0.112.255", "not", None),
        ("2001:db8:b::1", "not", None),
        ("100.64.1.2", "not", None),
        # The gateway's own, and what [protect] names.
        ("100.64.1.1", "protected", None),
        ("198.18.0.1", "protected", None),
        ("198.18.0.0/25", "protected", None),
        ("2001:db8:77::1", "protected", None),
        # Whole prefixes.
        ("198.51.100.0/24", "together", None),
        ("203.0.112.0/23", "partly", None),
        ("198.18.0.0/23", "partly", None),
        ("192.0.2.0/24", "not", None),
        ("0.0.0.0/0", "partly", None),
        ("::/0", "partly", None),
        ("2001:db8:b::/48", "not", None),
    ],
)
def test_each_case(
    standing: Snapshot, text: str, kind: str, registration: str | None
) -> None:
    found = ask(standing, text)
    named = found.registration and found.registration.id
    assert (found.kind.name.lower(), named) == (kind, registration)


def test_a_prefix_is_looked_up_without_merging_the_registry(
    standing: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a million registrations each such question would take a second."""
    merged, held = [], spared_by(standing)
    assert standing.protected
    monkeypatch.setattr(Intervals, "union", lambda *sets: merged.append(sets))
    for text in ("198.51.100.0/24", "203.0.112.0/23", "0.0.0.0/0", "2001:db8:b::/48"):
        standing_of(parse_question(text), standing, NOW, lambda _: held)
    assert merged == []


def test_whole_prefixes_agree_with_a_merged_set(standing: Snapshot) -> None:
    random = Random(7)
    networks = ["203.0.113.", "198.51.100.", "192.0.2.", "198.19.0.", "198.18.0."]
    merged = spared_by(standing).union(standing.protected)
    for _ in range(300):
        length = random.randrange(16, 32)
        start = IPNetwork(f"{random.choice(networks)}{random.randrange(256)}/{length}")
        found = ask(standing, str(start.cidr))
        asked = Intervals.of_prefixes([str(start.cidr)])
        assert found.is_spared == merged.covers(asked)
        some = merged.meets_each(asked.of(Family.IPV4)).any()
        assert (found.is_spared or found.kind.name == "PARTLY") == some


def test_what_time_changes(standing: Snapshot) -> None:
    kinds = [ask(standing, "198.51.100.1", NOW + d * DAY).kind.name for d in (0, 4, 7)]
    assert kinds == ["ENDING", "GRACE", "NOT"]
    kinds = [ask(standing, "192.0.2.1", NOW + d * DAY).kind.name for d in (0, 5)]
    assert kinds == ["LATER", "REGISTERED"]


def test_where_the_clock_is_in_doubt_whoever_may_be_registered_is(
    standing: Snapshot,
) -> None:
    doubt = Span(NOW, NOW + 20 * DAY)
    assert ask(standing, "192.0.2.1", doubt).kind.name == "REGISTERED"
    assert ask(standing, "198.51.100.1", doubt).is_spared


def test_it_agrees_with_what_verdicts_go_by(standing: Snapshot) -> None:
    random = Random(42)
    networks = ["203.0.113.", "198.51.100.", "192.0.2.", "198.19.0.", "198.18.0."]
    for _ in range(500):
        text = random.choice(networks) + str(random.randrange(256))
        now = NOW + random.randrange(-50, 50) * DAY
        address = parse_address(text)
        spared = standing.lookup(address, now) is not None
        spared |= standing.protects(address)
        found = standing_of(about(address), standing, now, spared_by)
        assert found.is_spared == spared, (text, now)
