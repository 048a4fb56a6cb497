# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose packets are copied when there are too many, on the compiled rules."""

from dataclasses import replace
from itertools import islice
from random import Random
from struct import pack

import pytest

from tests import rulesets
from tests.unit.ruleset.walk import Walk
from vpngate.packets import Family, HookPoint, Transport, parse_address
from vpngate.ruleset import Ruleset, names, sharing
from vpngate.ruleset.composition import compose
from vpngate.ruleset.table import Table

RULESET = rulesets.RULESET
INITIATION, RESPONSE = (b"\1\0\0\0" + bytes(144), b"\2\0\0\0" + bytes(88))
ESP = pack(">II", 0x1234, 1) + bytes(24)
UP, DOWN = HookPoint.INGRESS, HookPoint.EGRESS
SERVER = {Family.IPV4: "198.51.100.7", Family.IPV6: "2001:db8:b::7"}
BY_ADDRESS, BY_SIGNATURE = names.HELD_BACK


def frame(source: str, to: str = "", payload: bytes = INITIATION) -> bytes:
    """A frame; what does not begin like WireGuard's messages is ESP."""
    family = Family.IPV6 if ":" in source else Family.IPV4
    protocol = Transport.UDP if payload[1] == 0 and payload[0] else Transport.ESP
    body = payload
    if protocol is Transport.UDP:
        body = pack(">4H", 40000, 51820, 8 + len(payload), 0) + payload
    ends = parse_address(source) + parse_address(to or SERVER[family])
    if family is Family.IPV4:
        head = pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0)
        return bytes(12) + b"\x08\x00" + head + ends + body
    head = pack(">IHBB", 6 << 28, len(body), protocol, 64)
    return bytes(12) + b"\x86\xdd" + head + ends + body


def walk(ruleset: Ruleset = RULESET, room: int | None = None) -> Walk:
    """The table's walk; its dynamic sets have `room` for so many elements."""
    table = compose(ruleset)
    if room is not None:
        small = tuple(replace(s, size=room) if s.size else s for s in table.sets)
        table = replace(table, sets=small)
    return Walk(table)


def share(name: str, ruleset: Ruleset = RULESET) -> int:
    signature = next(s for s in ruleset.signatures if s.name == name)
    return sharing.copies(ruleset, signature).rate


SMALLEST = share("wireguard_response")
SUBSCRIBER = SMALLEST // 8
ANYBODY = SMALLEST // 2


def many(network: str, count: int) -> list[str]:
    base = network.rsplit(".", 2)[0]
    return [f"{base}.{n >> 8}.{n & 255}" for n in range(count)]


def test_first_messages_get_three_times_as_much_and_all_fits_the_whole() -> None:
    for name in ("ike_initial", "l2tp_request", "openvpn_tcp_initiation"):
        assert share(name) == share("wireguard_initiation")
    assert share("wireguard_initiation") // SMALLEST == 3
    whole = sum(sharing.copies(RULESET, one).rate for one in RULESET.signatures)
    assert 0.9 * 10_000 < whole <= 10_000, "of one hook"
    poor = replace(RULESET, packets_per_second=1)
    assert share("wireguard_initiation", poor) == share("esp", poor) == 1


@pytest.mark.parametrize(
    "sources",
    [["100.64.1.2"] * 300, [f"2001:db8:64:2::{n:x}" for n in range(1, 300)]],
    ids=["one-address", "one-network"],
)
def test_one_subscriber_gets_its_share_and_others_theirs(sources: list[str]) -> None:
    table = walk()
    copied = [table.copies(UP, frame(source)) for source in sources]
    assert sum(copied) == SUBSCRIBER
    assert table.counters[BY_ADDRESS] == len(copied) - SUBSCRIBER
    assert table.counters[BY_SIGNATURE] == 0
    assert table.copies(UP, frame("100.64.1.3"))
    assert table.copies(UP, frame("2001:db8:64:3::1"))


def test_many_subscribers_share_what_their_signature_gets() -> None:
    table = walk()
    sources = many("100.64.0.0", 1100)
    assert sum(table.copies(UP, frame(s)) for s in sources) == share(
        "wireguard_initiation"
    )
    assert table.counters[BY_SIGNATURE] == 1100 - table.copied
    assert table.copies(UP, frame("100.65.0.1", payload=RESPONSE)), "another's"


def test_a_set_without_room_limits_nobody() -> None:
    table = walk(room=10)
    for source in many("100.64.0.0", 200):
        assert table.copies(UP, frame(source)), "by its signature alone"
        assert table.copies(UP, frame(source, payload=ESP))
    assert table.counters[BY_ADDRESS] == table.counters[BY_SIGNATURE] == 0
    for source in many("100.65.0.0", 1000):
        table.copies(UP, frame(source))
    assert table.counters[BY_SIGNATURE] > 0
    # Those who are in it go on having their share, and no more.
    taken = sum(table.copies(UP, frame("100.64.0.1")) for _ in range(100))
    assert taken < SUBSCRIBER


def test_what_is_forged_takes_nothing_from_anybody() -> None:
    table = walk()
    table.lives = False
    for source in many("100.64.0.0", 1100):
        assert not table.copies(UP, frame(source))
        assert not table.copies(UP, frame(source, payload=ESP))
    assert table.counters == {names.REVERSE_PATH_FAILED: 2200} | {
        k: v for k, v in table.counters.items() if k.startswith("traffic")
    }
    assert not any(table.sets.values())
    table.lives = True
    assert table.copies(UP, frame("100.64.0.1"))


def test_a_flood_at_a_subscriber_uses_up_nothing_of_its_server() -> None:
    table = walk()
    answers = [
        table.copies(DOWN, frame(SERVER[Family.IPV4], "100.64.1.2", RESPONSE))
        for _ in range(300)
    ]
    assert sum(answers) == SUBSCRIBER
    assert table.copies(DOWN, frame(SERVER[Family.IPV4], "100.64.1.3", RESPONSE))


def test_one_server_gets_half_of_what_there_is() -> None:
    table = walk()
    subscribers = many("100.64.0.0", 300)
    scanned = [table.copies(DOWN, frame("192.0.2.9", s, RESPONSE)) for s in subscribers]
    assert sum(scanned) == ANYBODY
    assert table.copies(DOWN, frame(SERVER[Family.IPV4], "100.64.1.3", RESPONSE))


def test_towards_an_uplink_nobody_is_taken_for_one_subscriber() -> None:
    """All subscribers behind a NAT have one address there."""
    table = walk(replace(RULESET, subscriber_side=False))
    for point, ends in (
        (UP, ("198.51.100.7", "203.0.113.1")),
        (DOWN, ("203.0.113.1", "198.51.100.7")),
    ):
        copied = sum(table.copies(point, frame(*ends)) for _ in range(300))
        assert copied == ANYBODY


def test_running_traffic_is_sampled_and_costs_its_subscriber_one_copy_a_pair() -> None:
    table = walk()
    packets = [table.copies(UP, frame("100.64.1.2", payload=ESP)) for _ in range(100)]
    assert sum(packets) == 12
    assert table.counters[BY_ADDRESS] == table.counters[BY_SIGNATURE] == 0
    spread = [
        table.copies(UP, frame("100.64.1.2", to, ESP)) for to in many("198.18.0.0", 100)
    ]
    assert sum(spread) == SUBSCRIBER - 1
    sampled = table.sets[names.sampled_set("esp", Family.IPV4)]
    assert len(sampled) == SUBSCRIBER, "one alone does not fill the set"


def test_what_was_let_through_was_copied_or_counted() -> None:
    choice = Random(1)
    table = walk(room=50)
    ends = many("100.64.0.0", 20)
    candidates = 0
    for point in choice.choices((UP, DOWN), k=2000):
        payload = choice.choice((INITIATION, RESPONSE))
        table.lives = choice.random() < 0.9
        source, to = choice.choice(ends), choice.choice(ends)
        candidates += 1
        table.copies(point, frame(source, to, payload))
    counted = sum(table.counters[name] for name in names.HELD_BACK)
    counted += table.counters[names.REVERSE_PATH_FAILED]
    assert table.copied + counted == candidates
    assert min(table.copied, *(table.counters[name] for name in names.HELD_BACK)) > 0


def test_a_rule_beyond_a_share_says_so_to_whoever_reads_it() -> None:
    table: Table = compose(RULESET)
    chain = next(c for c in table.chains if c.name == names.address_share(DOWN))
    assert [line.comment for line in islice(chain.lines, 2)] == [
        "this destination has had its share of the copies"
    ] * 2
