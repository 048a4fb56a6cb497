# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts: registered ends allow, confirmed flows throttle, doubt does nothing."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from vpngate.packets import (
    Direction,
    Endpoint,
    Family,
    FlowKey,
    Transport,
    parse_address,
)
from vpngate.policy import (
    Throttle,
    Verdict,
    decide,
    is_chosen,
    is_sufficient,
    network_of,
    throttles,
)
from vpngate.recognition import Evidence, Sighting, Tunnel
from vpngate.timekeeping.moments import When

A = Endpoint(parse_address("10.1.0.2"), 40001)
B = Endpoint(parse_address("10.2.0.2"), 51820)


@dataclass
class Listed:
    """A registry of single addresses; its registrations are plain words."""

    known: dict[bytes, str] = field(default_factory=dict)
    protected: set[bytes] = field(default_factory=set)

    def lookup(self, address: bytes, now: When) -> Any:
        assert now == 1000.0
        return self.known.get(address)

    def protects(self, address: bytes) -> bool:
        return address in self.protected


def tunnel() -> Tunnel:
    def covers(flow: FlowKey) -> tuple[FlowKey, ...]:
        low, high = (Endpoint(end.address, 0) for end in (flow.low, flow.high))
        return flow, FlowKey.of(Transport.ESP, low, high)

    return Tunnel("test", (), lambda _: None, covers, 180)


@pytest.mark.parametrize("registered", [A, B])
def test_a_registration_at_either_end_allows(registered: Endpoint) -> None:
    decision = decide(True, (A, B), Listed({registered.address: "R-1"}), 1000.0)
    assert decision.verdict is Verdict.ALLOW
    assert str(decision.registration) == "R-1"


def test_a_confirmed_flow_of_nobody_registered_is_throttled() -> None:
    decision = decide(True, (A, B), Listed(), 1000.0)
    assert (decision.verdict, decision.registration) == (Verdict.THROTTLE, None)


@pytest.mark.parametrize("protected", [A, B])
def test_a_protected_end_allows(protected: Endpoint) -> None:
    decision = decide(True, (A, B), Listed(protected={protected.address}), 1000.0)
    assert (decision.verdict, decision.registration) == (Verdict.ALLOW, None)


def test_insufficient_evidence_does_nothing_and_still_names_the_registration() -> None:
    assert decide(False, (A, B), Listed(), 1000.0).verdict is Verdict.NONE
    named = decide(False, (A, B), Listed({B.address: "R-1"}), 1000.0)
    assert (named.verdict, str(named.registration)) == (Verdict.NONE, "R-1")


@pytest.mark.parametrize(
    ("evidence", "beyond_doubt", "one_way", "expected"),
    [
        (Evidence.CONFIRMED, False, False, True),
        (Evidence.CONFIRMED, True, True, True),
        (Evidence.INITIATION, True, True, True),
        (Evidence.INITIATION, True, False, False),
        (Evidence.INITIATION, False, True, False),
    ],
)
def test_only_confirmed_is_acted_on_unless_one_way_is_asked_for_and_safe(
    *, evidence: Evidence, beyond_doubt: bool, one_way: bool, expected: bool
) -> None:
    flow = FlowKey.of(Transport.UDP, A, B)
    one = Sighting(tunnel(), flow, A, B, evidence, 0.0, 0, one_way=beyond_doubt)
    assert is_sufficient(one, one_way=one_way) is expected


@pytest.mark.parametrize(
    ("address", "length", "network"),
    [
        ("10.1.2.3", 32, "10.1.2.3"),
        ("10.1.2.3", 24, "10.1.2.0"),
        ("10.1.2.3", 0, "0.0.0.0"),
        ("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::"),
        ("2001:db8:1:2:3:4:5:6", 60, "2001:db8:1::"),
    ],
)
def test_the_network_of_an_address(address: str, length: int, network: str) -> None:
    assert network_of(parse_address(address), length) == parse_address(network)


@pytest.mark.parametrize(("subscriber", "remote"), [(A, B), (B, A)])
def test_throttles_turn_every_covered_flow_to_the_subscriber(
    subscriber: Endpoint, remote: Endpoint
) -> None:
    prefix = {Family.IPV4: 24, Family.IPV6: 64}
    flow = FlowKey.of(Transport.UDP, A, B)
    bucket = network_of(subscriber.address, 24)
    assert throttles(tunnel(), flow, [subscriber.address], prefix) == (
        Throttle(Transport.UDP, subscriber, remote, bucket, 180),
        Throttle(
            Transport.ESP,
            Endpoint(subscriber.address, 0),
            Endpoint(remote.address, 0),
            bucket,
            180,
        ),
    )


def test_between_two_subscribers_each_direction_counts_against_its_sender() -> None:
    prefix = {Family.IPV4: 32, Family.IPV6: 64}
    flow = FlowKey.of(Transport.UDP, A, B)
    found = throttles(tunnel(), flow, [A.address, B.address], prefix)
    assert [(one.subscriber.address, one.bucket) for one in found] == [
        (end.address, end.address) for end in (A, B) for _ in tunnel().covers(flow)
    ]
    assert {one.directions for one in found} == {(Direction.UPLOAD,)}


def test_the_share_is_chosen_by_key_and_grows_without_reshuffling() -> None:
    buckets = [n.to_bytes(4) for n in range(10_000)]
    few = {b for b in buckets if is_chosen(b, b"key", 0.1)}
    more = {b for b in buckets if is_chosen(b, b"key", 0.3)}
    other = {b for b in buckets if is_chosen(b, b"another", 0.1)}
    assert few < more
    assert other != few
    assert 800 < len(few) < 1200
    assert all(is_chosen(b, b"key", 1.0) for b in buckets)
    assert not any(is_chosen(b, b"key", 0.0) for b in buckets)
