# SPDX-License-Identifier: GPL-2.0-or-later
"""Captured handshakes become verdicts, but only where everything is certain."""

import pytest

from tests.unit.daemon.gatehouse import (
    CONFIG,
    MEMBER,
    NOW,
    REGISTRY,
    STRANGER,
    SUBSCRIBER,
    Gatehouse,
    handshake,
    snapshot,
)
from tests.unit.tunnels.test_l2tp import REPLY, REQUEST
from vpngate.capture.live.source import Captured
from vpngate.packets import Endpoint, Packet, Transport, parse_address
from vpngate.policy import Throttle

THROTTLED = Throttle(Transport.UDP, SUBSCRIBER, STRANGER, SUBSCRIBER.address, idle=180)


def turned_round(one: Captured) -> Captured:
    """The same, at the other hook."""
    assert one.hook is not None
    return one._replace(hook=one.hook.opposite)


def test_a_handshake_with_a_stranger_is_due_with_the_time_of_its_answer() -> None:
    gatehouse = Gatehouse()
    (due,) = gatehouse.pipeline.take(handshake(), 1.0, NOW)
    assert due.flows == (THROTTLED,)
    assert due.seen == NOW - 0.004
    counted = {"tunnel": "wireguard", "family": "ipv4"}
    assert gatehouse.metric("flows_total", **counted, verdict="none") == 0
    assert gatehouse.metric("flows_total", **counted, verdict="throttle") == 1
    assert gatehouse.metric("flows_total", **counted, verdict="allow") == 0
    assert gatehouse.pipeline.verdicts["wireguard"] == {"throttle": 1}


def test_the_subscriber_is_found_also_where_the_stranger_initiates() -> None:
    initiation, response = handshake(SUBSCRIBER, subscriber=STRANGER)
    turned = [turned_round(one) for one in (initiation, response)]
    (due,) = Gatehouse().pipeline.take(turned, 1.0, NOW)
    assert due.flows == (THROTTLED,)


def test_on_the_uplink_side_the_hooks_mean_the_other_direction() -> None:
    text = CONFIG + 'side = "uplink"\nnat = false\n'
    captured = [turned_round(one) for one in handshake()]
    (due,) = Gatehouse(snapshot(text)).pipeline.take(captured, 1.0, NOW)
    assert due.flows == (THROTTLED,)


@pytest.mark.parametrize(
    ("text", "rows", "remote"),
    [
        pytest.param(CONFIG, REGISTRY, MEMBER, id="registered server"),
        pytest.param(
            CONFIG, REGISTRY + "100.64.1.0/28,R-2\n", STRANGER, id="registered client"
        ),
        pytest.param(
            CONFIG + '[protect]\nprefixes = ["198.51.100.10/32"]\n',
            REGISTRY,
            STRANGER,
            id="protected",
        ),
        pytest.param(
            CONFIG,
            REGISTRY,
            Endpoint(parse_address("100.64.1.1"), 51820),
            id="the gateway itself",
        ),
    ],
)
def test_whoever_is_to_be_left_alone_is(text: str, rows: str, remote: Endpoint) -> None:
    gatehouse = Gatehouse(snapshot(text, rows))
    assert gatehouse.pipeline.take(handshake(remote), 1.0, NOW) == []
    counted = {"tunnel": "wireguard", "family": "ipv4"}
    assert gatehouse.metric("flows_total", **counted, verdict="allow") == 1
    assert gatehouse.metric("flows_total", **counted, verdict="throttle") == 0


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(CONFIG.replace("enforce", "observe"), id="observing"),
        pytest.param(CONFIG + "enforce_share = 0\n", id="nobody's share"),
        pytest.param(CONFIG + '[tunnels]\nenabled = ["openvpn"]\n', id="not enabled"),
    ],
)
def test_nothing_is_due_where_nothing_is_enforced(text: str) -> None:
    assert Gatehouse(snapshot(text)).pipeline.take(handshake(), 1.0, NOW) == []


def test_observing_counts_what_would_have_been_throttled() -> None:
    gatehouse = Gatehouse(snapshot(CONFIG.replace("enforce", "observe")))
    gatehouse.pipeline.take(handshake(), 1.0, NOW)
    assert gatehouse.pipeline.verdicts["wireguard"]["throttle"] == 1


def test_an_initiation_alone_is_not_enough() -> None:
    gatehouse = Gatehouse()
    assert gatehouse.pipeline.take(handshake()[:1], 1.0, NOW) == []
    assert gatehouse.pipeline.verdicts == {}


def test_other_traffic_leaves_no_trace() -> None:
    one = handshake()[0]
    noise = one._replace(packet=one.packet._replace(payload=bytes(148)))
    gatehouse = Gatehouse()
    assert gatehouse.pipeline.take([noise], 1.0, NOW) == []
    assert len(gatehouse.pipeline.flows) == 0


def test_a_second_handshake_is_due_again_but_not_counted_again() -> None:
    gatehouse = Gatehouse()
    gatehouse.pipeline.take(handshake(index=7), 1.0, NOW)
    (due,) = gatehouse.pipeline.take(handshake(index=8), 121.0, NOW + 120)
    assert due.flows == (THROTTLED,)
    assert gatehouse.pipeline.verdicts["wireguard"] == {"throttle": 1}
    counted = {"tunnel": "wireguard", "evidence": "confirmed"}
    assert gatehouse.metric("handshakes_total", **counted) == 2


def test_another_snapshot_decides_from_its_adoption_on() -> None:
    gatehouse = Gatehouse()
    initiation, response = handshake()
    gatehouse.pipeline.take([initiation], 1.0, NOW)
    gatehouse.pipeline.adopt(snapshot(rows=REGISTRY + "198.51.100.0/24,R-9\n"))
    assert gatehouse.pipeline.take([response], 1.1, NOW) == []
    assert gatehouse.pipeline.verdicts["wireguard"] == {"allow": 1}


def test_a_packet_that_breaks_a_reader_is_left_alone_and_the_next_one_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gatehouse = Gatehouse()
    recognise, failures = gatehouse.pipeline._recogniser.recognise, [ValueError("odd")]

    def fail_once(packet: Packet) -> object:
        if failures:
            raise failures.pop()
        return recognise(packet)

    monkeypatch.setattr(gatehouse.pipeline._recogniser, "recognise", fail_once)
    first, *others = handshake()
    assert len(gatehouse.pipeline.take([first, first, *others], 1.0, NOW)) == 1
    assert gatehouse.metric("capture_lost_packets_total", reason="unreadable") == 1


def test_what_stays_unconfirmed_is_counted_once_it_is_forgotten() -> None:
    gatehouse = Gatehouse()
    initiation, _ = handshake()
    for second in range(3):  # asked again, as clients do
        gatehouse.pipeline.take([initiation], 1.0 + second, NOW)
    assert gatehouse.pipeline.verdicts == {}
    gatehouse.pipeline.flows.expire(10_000.0)
    assert gatehouse.pipeline.verdicts["wireguard"] == {"none": 1}
    counted = {"tunnel": "wireguard", "family": "ipv4", "verdict": "none"}
    assert gatehouse.metric("flows_total", **counted) == 1


def test_what_was_judged_is_not_counted_again_when_it_is_forgotten() -> None:
    gatehouse = Gatehouse()
    gatehouse.pipeline.take(handshake(), 1.0, NOW)
    gatehouse.pipeline.flows.expire(10_000.0)
    assert gatehouse.pipeline.verdicts["wireguard"] == {"throttle": 1}


def test_one_that_comes_back_after_its_time_is_another_flow() -> None:
    gatehouse = Gatehouse()
    initiation, response = handshake()
    gatehouse.pipeline.take([initiation], 1.0, NOW)
    gatehouse.pipeline.take([initiation, response], 10_000.0, NOW + 9999)
    assert gatehouse.pipeline.verdicts["wireguard"] == {"none": 1, "throttle": 1}


def test_flows_that_make_room_or_are_cleared_stayed_unconfirmed_too() -> None:
    gatehouse = Gatehouse(snapshot(CONFIG + "[throttle]\nmax_flows = 2\n"))
    for port in range(4):
        remote = STRANGER._replace(port=port + 1)
        gatehouse.pipeline.take(handshake(remote)[:1], 1.0 + port, NOW)
    assert gatehouse.pipeline.verdicts["wireguard"] == {"none": 2}
    gatehouse.pipeline.flows.clear()
    assert gatehouse.pipeline.verdicts["wireguard"] == {"none": 4}


def test_what_one_message_was_enough_for_is_one_flow_when_it_is_answered() -> None:
    text = CONFIG + '[tunnels]\nconfirm = "one-way"\n'
    gatehouse = Gatehouse(snapshot(text))
    server = STRANGER._replace(port=1701)
    ends = (SUBSCRIBER, server), (server, SUBSCRIBER)
    request, reply = (
        one._replace(
            packet=Packet(Transport.UDP, *ends[turn], payload, len(payload)),
        )
        for turn, (one, payload) in enumerate(
            zip(handshake(), (REQUEST, REPLY), strict=True)
        )
    )
    (due,) = gatehouse.pipeline.take([request], 1.0, NOW)
    assert due.flows
    assert gatehouse.pipeline.verdicts["l2tp"] == {"throttle": 1}
    (due,) = gatehouse.pipeline.take([reply], 1.1, NOW)
    assert due.flows
    assert gatehouse.pipeline.verdicts["l2tp"] == {"throttle": 1}
    gatehouse.pipeline.flows.expire(10_000.0)
    assert gatehouse.pipeline.verdicts["l2tp"] == {"throttle": 1}
