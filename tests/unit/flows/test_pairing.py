# SPDX-License-Identifier: GPL-2.0-or-later
"""Which messages, from which side and in which order, make a tunnel."""

import pytest

from vpngate.flows import FlowTable
from vpngate.flows.conversation import RENEWAL
from vpngate.packets import Endpoint, Packet, Transport
from vpngate.recognition import Evidence, Message, Role, Sighting, Tunnel

CLIENT = Endpoint(bytes([192, 0, 2, 1]), 41000)
SERVER = Endpoint(bytes([10, 0, 0, 2]), 1194)  # the lower end of the flow
TUNNEL = Tunnel("example", (), lambda _: None, lambda flow: (flow,), idle=180)
OTHER = Tunnel("other", (), lambda _: None, lambda flow: (flow,), idle=600)

START = 1_000.0


class Wire:
    """Two ends, a table that watches them, and a clock."""

    def __init__(self) -> None:
        self.table = FlowTable(100)
        self.now = START

    def send(
        self, sender: Endpoint, role: Role, token: bytes = b"", **extra: int
    ) -> Sighting | None:
        receiver = SERVER if sender is CLIENT else CLIENT
        packet = Packet(Transport.UDP, sender, receiver, b"", 0)
        message = Message(role, role.value, token, **extra)  # type: ignore[arg-type]
        return self.table.observe(packet, TUNNEL, message, self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds


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
    )
    assert list(wire.table.sightings()) == [second._replace(repeated=True)]


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
    assert wire.table.observe(packet, TUNNEL, message, wire.now) is None


def test_another_tunnel_on_the_same_flow_is_apart(wire: Wire) -> None:
    wire.send(CLIENT, Role.INITIATION, b"one")
    packet = Packet(Transport.UDP, SERVER, CLIENT, b"", 0)
    message = Message(Role.RESPONSE, "response", b"one")
    assert wire.table.observe(packet, OTHER, message, wire.now) is None
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


def traffic(
    wire: Wire, sender: Endpoint, sequence: int, token: bytes = b""
) -> Sighting | None:
    return wire.send(sender, Role.TRAFFIC, token or sender.address, sequence=sequence)


def test_traffic_needs_two_advancing_packets_each_way(wire: Wire) -> None:
    first = traffic(wire, CLIENT, 1)
    assert first is not None
    assert first.evidence is Evidence.INITIATION
    assert traffic(wire, CLIENT, 2) is None
    assert traffic(wire, SERVER, 9) is None
    sighting = traffic(wire, SERVER, 10)
    assert sighting is not None
    assert (sighting.evidence, sighting.handshakes) == (Evidence.CONFIRMED, 1)
    assert sighting.repeated is False


@pytest.mark.parametrize(
    ("before", "after", "advances"),
    [
        (5, 6, True),
        (5, 5, False),
        (6, 5, False),
        (0xFFFFFFFF, 0, True),
        (5, 5 + (1 << 24), True),
        (5, 6 + (1 << 24), False),
    ],
)
def test_advancing(wire: Wire, before: int, after: int, *, advances: bool) -> None:
    traffic(wire, CLIENT, before)
    traffic(wire, CLIENT, after)
    traffic(wire, SERVER, 1)
    assert (traffic(wire, SERVER, 2) is not None) is advances


def test_traffic_out_of_order_advances_in_the_end(wire: Wire) -> None:
    for sequence in (7, 5, 6):
        traffic(wire, CLIENT, sequence)
    traffic(wire, SERVER, 1)
    assert traffic(wire, SERVER, 2) is not None


def test_two_tokens_do_not_add_up(wire: Wire) -> None:
    traffic(wire, CLIENT, 1, b"old")
    traffic(wire, CLIENT, 2, b"new")
    traffic(wire, SERVER, 1)
    assert traffic(wire, SERVER, 2) is None
    assert traffic(wire, CLIENT, 3, b"new") is not None


def test_only_so_many_sequences_are_remembered(wire: Wire) -> None:
    traffic(wire, SERVER, 1)
    for number in range(8):
        traffic(wire, CLIENT, 1, bytes([number]))
    used = wire.table.bytes_used
    for number in range(8, 100):
        traffic(wire, CLIENT, 1, bytes([number]))
    assert wire.table.bytes_used == used
    assert traffic(wire, SERVER, 2) is None  # forgotten: this is the first again


def test_running_traffic_confirms_again_every_now_and_then(wire: Wire) -> None:
    def round_of(sequence: int) -> Sighting | None:
        for sender in (CLIENT, SERVER):
            sighting = traffic(wire, sender, sequence)
        return sighting

    round_of(1)
    assert round_of(2) is not None
    sequence, said = 3, []
    for second in range(1, 2 * RENEWAL + 1):
        wire.wait(1)
        sighting = round_of(sequence)
        sequence += 1
        if sighting is not None:
            assert sighting.repeated
            said.append(second)
    assert said == [RENEWAL, 2 * RENEWAL]
