# SPDX-License-Identifier: GPL-2.0-or-later
"""Which messages, from which side and in which order, make a tunnel."""

import pytest

from tests.unit.flows.listing import sightings
from tests.unit.flows.wire import CLIENT, SERVER, START, TUNNEL, Wire
from vpngate.flows.state import RENEWAL
from vpngate.packets import Packet, Transport
from vpngate.recognition import (
    Crossing,
    Evidence,
    Heard,
    Message,
    Role,
    Sighting,
    Tunnel,
)

OTHER = Tunnel("other", (), lambda _: None, lambda flow: (flow,), idle=600)


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_initiation_and_response(wire: Wire) -> None:
    first = wire.send(CLIENT, Role.INITIATION, b"one")
    assert first is not None
    assert first.evidence is Evidence.INITIATION
    assert (first.initiator, first.responder) == (CLIENT, SERVER)
    assert (first.first_seen, first.handshakes, first.repeated) == (START, 0, False)
    wire.wait(0.1)
    second = wire.send(SERVER, Role.RESPONSE, b"one")
    assert second == Sighting(
        tunnel=TUNNEL,
        flow=first.flow,
        initiator=CLIENT,
        responder=SERVER,
        evidence=Evidence.CONFIRMED,
        first_seen=START,
        handshakes=1,
        crossing=Crossing(frozenset({None}), frozenset({None})),
    )
    assert list(sightings(wire.table)) == [second._replace(repeated=True)]


@pytest.mark.parametrize("role", [Role.RESPONSE, Role.FOLLOW_UP])
def test_an_answer_nobody_asked_for_leaves_no_trace(wire: Wire, role: Role) -> None:
    assert wire.send(SERVER, role, b"one") is None
    assert len(wire.table) == 0
    # Nor does it confirm what comes after it.
    wire.send(CLIENT, Role.INITIATION, b"one")
    assert wire.table.counts() == {("example", Evidence.INITIATION): 1}


def test_what_does_not_confirm(wire: Wire) -> None:
    wire.send(CLIENT, Role.INITIATION, b"one")
    assert wire.send(SERVER, Role.RESPONSE, b"two") is None
    assert wire.send(CLIENT, Role.RESPONSE, b"one") is None  # the same side
    assert wire.send(CLIENT, Role.FOLLOW_UP, b"one") is None  # nothing to follow
    assert wire.table.counts() == {("example", Evidence.INITIATION): 1}


def test_an_answer_to_another_port_does_not_confirm(wire: Wire) -> None:
    wire.send(CLIENT, Role.INITIATION, b"one")
    elsewhere = CLIENT._replace(port=41001)
    packet = Packet(Transport.UDP, SERVER, elsewhere, b"", 0)
    message = Message(Role.RESPONSE, "response", b"one")
    assert wire.table.observe(Heard(packet, message), TUNNEL, wire.now) is None


def test_another_tunnel_on_the_same_flow_is_apart(wire: Wire) -> None:
    wire.send(CLIENT, Role.INITIATION, b"one")
    packet = Packet(Transport.UDP, SERVER, CLIENT, b"", 0)
    message = Message(Role.RESPONSE, "response", b"one")
    assert wire.table.observe(Heard(packet, message), OTHER, wire.now) is None
    assert wire.send(SERVER, Role.RESPONSE, b"one") is not None


def test_retransmissions_say_nothing_new(wire: Wire) -> None:
    assert wire.send(CLIENT, Role.INITIATION, b"one") is not None
    assert wire.send(CLIENT, Role.INITIATION, b"one") is None
    assert wire.send(SERVER, Role.RESPONSE, b"one") is not None
    for _ in range(3):
        wire.wait(1)
        assert wire.send(CLIENT, Role.INITIATION, b"one") is None
        assert wire.send(SERVER, Role.RESPONSE, b"one") is None


def test_a_retransmission_with_a_new_token(wire: Wire) -> None:
    """WireGuard takes a new index each time; the answer may be to an older one."""
    for token in (b"1", b"2", b"3", b"4"):
        wire.send(CLIENT, Role.INITIATION, token)
    assert wire.send(SERVER, Role.RESPONSE, b"1") is not None
    wire.send(CLIENT, Role.INITIATION, b"5")
    assert wire.send(SERVER, Role.RESPONSE, b"1") is None
    # Only the latest few are remembered.
    for token in (b"6", b"7", b"8"):
        wire.send(CLIENT, Role.INITIATION, token)
    wire.send(CLIENT, Role.INITIATION, b"9")
    assert wire.send(SERVER, Role.RESPONSE, b"5") is None
    assert wire.send(SERVER, Role.RESPONSE, b"9") is not None


def test_repeated_handshakes_are_counted_and_said(wire: Wire) -> None:
    for count, (opener, answerer) in enumerate(
        ((CLIENT, SERVER), (CLIENT, SERVER), (SERVER, CLIENT)), start=1
    ):
        wire.send(opener, Role.INITIATION, bytes([count]))
        sighting = wire.send(answerer, Role.RESPONSE, bytes([count]))
        assert sighting is not None
        assert sighting.handshakes == count
        assert sighting.repeated is (count > 1)
        # Whoever re-keys, the initiator is who began the flow.
        assert sighting.initiator == CLIENT
        wire.wait(120)


def test_the_same_token_again_is_a_handshake_again_after_a_while(wire: Wire) -> None:
    """PPTP has no token: a new connection on old ports looks like the first."""
    wire.send(CLIENT, Role.INITIATION)
    wire.send(SERVER, Role.RESPONSE)
    wire.wait(RENEWAL)
    assert wire.send(CLIENT, Role.INITIATION) is None
    sighting = wire.send(SERVER, Role.RESPONSE)
    assert sighting is not None
    assert (sighting.handshakes, sighting.repeated) == (2, True)


def test_simultaneous_initiations(wire: Wire) -> None:
    assert wire.send(CLIENT, Role.INITIATION, b"c") is not None
    assert wire.send(SERVER, Role.INITIATION, b"s") is None
    sighting = wire.send(CLIENT, Role.RESPONSE, b"s")
    assert sighting is not None
    assert sighting.evidence is Evidence.CONFIRMED
    # The handshake that came about says who the initiator is.
    assert (sighting.initiator, sighting.responder) == (SERVER, CLIENT)
    again = wire.send(SERVER, Role.RESPONSE, b"c")
    assert again is not None
    assert again.handshakes == 2
    assert again.initiator == SERVER


def test_an_answer_that_names_nobody_waits_for_the_initiator(wire: Wire) -> None:
    wire.send(CLIENT, Role.INITIATION, b"sid")
    assert wire.send(CLIENT, Role.FOLLOW_UP, b"sid") is None
    assert wire.send(CLIENT, Role.RESPONSE, conclusive=False) is None
    assert wire.send(CLIENT, Role.FOLLOW_UP, b"sid") is None
    assert wire.send(SERVER, Role.RESPONSE, conclusive=False) is None
    assert wire.send(SERVER, Role.RESPONSE, conclusive=False) is None
    assert wire.send(CLIENT, Role.FOLLOW_UP, b"other") is None
    assert wire.send(SERVER, Role.FOLLOW_UP, b"sid") is None
    sighting = wire.send(CLIENT, Role.FOLLOW_UP, b"sid")
    assert sighting is not None
    assert (sighting.evidence, sighting.handshakes) == (Evidence.CONFIRMED, 1)
    assert wire.send(CLIENT, Role.FOLLOW_UP, b"sid") is None


def test_an_exchange_confirms_when_both_ends_were_heard(wire: Wire) -> None:
    first = wire.send(SERVER, Role.EXCHANGE, b"cookies")
    assert first is not None
    assert first.evidence is Evidence.INITIATION
    assert wire.send(SERVER, Role.EXCHANGE, b"cookies") is None
    assert wire.send(CLIENT, Role.EXCHANGE, b"others") is None
    sighting = wire.send(CLIENT, Role.EXCHANGE, b"cookies")
    assert sighting is not None
    assert (sighting.evidence, sighting.handshakes) == (Evidence.CONFIRMED, 1)
    assert sighting.initiator == SERVER


def test_an_exchange_behind_a_handshake_says_nothing_new(wire: Wire) -> None:
    wire.send(CLIENT, Role.INITIATION, b"spi")
    wire.send(SERVER, Role.RESPONSE, b"spi")
    for _ in range(2):
        wire.wait(1)
        assert wire.send(CLIENT, Role.EXCHANGE, b"spis") is None
        assert wire.send(SERVER, Role.EXCHANGE, b"spis") is None
    wire.wait(RENEWAL)
    assert wire.send(CLIENT, Role.EXCHANGE, b"spis") is None
    sighting = wire.send(SERVER, Role.EXCHANGE, b"spis")
    assert sighting is not None
    assert (sighting.handshakes, sighting.repeated) == (1, True)


def test_the_second_reader_is_shown_the_whole_handshake(wire: Wire) -> None:
    wire.send(CLIENT, Role.INITIATION, b"one", payload=b"hello")
    wire.send(SERVER, Role.RESPONSE, conclusive=False, payload=b"hi")
    wire.send(CLIENT, Role.FOLLOW_UP, b"one", payload=b"so be it")
    (heard,) = wire.asked
    assert [one.packet.payload for one in heard] == [b"hello", b"hi", b"so be it"]


def test_what_the_second_reader_does_not_see_is_not_confirmed(wire: Wire) -> None:
    wire.agrees = False
    for token in (b"one", b"two"):
        wire.send(CLIENT, Role.INITIATION, token)
        assert wire.send(SERVER, Role.RESPONSE, token) is None
    assert wire.table.counts() == {("example", Evidence.INITIATION): 1}
    wire.agrees = True  # the next handshake is judged anew
    wire.send(CLIENT, Role.INITIATION, b"three")
    assert wire.send(SERVER, Role.RESPONSE, b"three") is not None


def test_an_exchange_that_says_nothing_new_costs_no_second_reading(wire: Wire) -> None:
    for _ in range(3):
        wire.send(CLIENT, Role.EXCHANGE, b"cookies")
        wire.send(SERVER, Role.EXCHANGE, b"cookies")
    assert len(wire.asked) == 1


def test_a_packet_that_is_kept_is_cut_to_a_bound(wire: Wire) -> None:
    wire.send(CLIENT, Role.INITIATION, b"one", payload=bytes(60_000))
    assert wire.table.bytes_used < 10_000
    wire.send(SERVER, Role.RESPONSE, b"one", payload=b"hi")
    (heard,) = wire.asked
    assert heard[0].packet.truncated


@pytest.mark.parametrize("role", [Role.EXCHANGE, Role.TRAFFIC])
def test_an_echo_is_never_believed(wire: Wire, role: Role) -> None:
    for number in range(8):
        payload = bytes([number])
        for sender in (CLIENT, SERVER):
            wire.send(sender, role, b"same", payload=payload, sequence=number)
            wire.wait(0.1)
    assert wire.table.counts() == {("example", Evidence.INITIATION): 1}


def test_what_contradicts_itself_is_withdrawn_and_not_believed_again(
    wire: Wire,
) -> None:
    wire.send(CLIENT, Role.EXCHANGE, b"cookies", payload=b"a")
    assert wire.send(SERVER, Role.EXCHANGE, b"cookies", payload=b"b") is not None
    wire.send(CLIENT, Role.EXCHANGE, b"later", payload=b"c")
    sighting = wire.send(SERVER, Role.EXCHANGE, b"later", payload=b"c")
    assert sighting is not None
    assert (sighting.withdrawn, sighting.evidence) == (True, Evidence.INITIATION)
    wire.wait(RENEWAL)
    wire.send(CLIENT, Role.INITIATION, b"new")
    assert wire.send(SERVER, Role.RESPONSE, b"new") is None
    wire.wait(TUNNEL.idle + 1)  # forgotten: a new flow
    wire.send(CLIENT, Role.INITIATION, b"new")
    assert wire.send(SERVER, Role.RESPONSE, b"new") is not None
