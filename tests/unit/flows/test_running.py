# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic that looks the same in every packet: what of it is a tunnel's."""

import random

import pytest

from tests.unit.flows.wire import CLIENT, IN, OUT, SERVER, Wire
from vpngate.flows.running import MOST_SEQUENCES, STEPS
from vpngate.flows.state import RENEWAL
from vpngate.packets import Endpoint
from vpngate.recognition import Evidence, Gate, Role, Sighting


@pytest.fixture
def wire() -> Wire:
    return Wire()


def traffic(
    wire: Wire,
    sender: Endpoint,
    sequence: int,
    token: bytes = b"",
    gate: Gate | None = None,
) -> Sighting | None:
    token = token or sender.address
    payload = token + sequence.to_bytes(8)
    return wire.send(
        sender, Role.TRAFFIC, token, sequence=sequence, gate=gate, payload=payload
    )


def advance(wire: Wire, sender: Endpoint, first: int = 1) -> Sighting | None:
    """As many packets as it takes of one end; the last one's sighting."""
    for sequence in range(first, first + STEPS + 1):
        sighting = traffic(wire, sender, sequence)
    return sighting


def test_traffic_needs_several_advancing_packets_each_way(wire: Wire) -> None:
    first = traffic(wire, CLIENT, 1)
    assert first is not None
    assert first.evidence is Evidence.INITIATION
    for sender, sequence in ((CLIENT, 2), (CLIENT, 3), (SERVER, 9), (SERVER, 10)):
        assert traffic(wire, sender, sequence) is None
    sighting = traffic(wire, SERVER, 11)
    assert sighting is not None
    assert (sighting.evidence, sighting.handshakes) == (Evidence.CONFIRMED, 1)
    assert sighting.repeated is False
    (heard,) = wire.asked
    assert {one.packet.source for one in heard} == {CLIENT, SERVER}
    assert sorted(one.message.sequence for one in heard) == [2, 3, 10, 11]


@pytest.mark.parametrize(
    ("steps", "seconds", "confirms"),
    [
        pytest.param([5, 6, 7], 0, True, id="one by one"),
        pytest.param([5, 5, 5, 5], 0, False, id="standing"),
        pytest.param([0xFFFFFFFE, 0xFFFFFFFF, 0], 0, True, id="around the end"),
        pytest.param([1, 1000, 1900], 0, True, id="some missing"),
        pytest.param([1, 500_000, 900_000], 0, True, id="sampled, looked at together"),
        pytest.param([1, 5_000_000, 9_000_000], 5, True, id="sampled, seconds apart"),
        pytest.param([1, 5_000_000, 9_000_000], 0, False, id="the same at once"),
        pytest.param([7, 6, 8, 9], 0, True, id="one late"),
        pytest.param([7, 8, 8, 9], 0, True, id="one seen twice"),
        pytest.param([9, 8, 7, 6, 5], 0, False, id="backwards"),
        pytest.param([1000, 1001, 1, 2, 3, 4], 0, False, id="far back"),
    ],
)
def test_steps(wire: Wire, steps: list[int], seconds: float, *, confirms: bool) -> None:
    advance(wire, SERVER)
    for sequence in steps:
        traffic(wire, CLIENT, sequence)
        wire.wait(seconds)
    confirmed = wire.table.counts() == {("example", Evidence.CONFIRMED): 1}
    assert confirmed is confirms


def test_one_packet_that_does_not_fit_disqualifies_before(wire: Wire) -> None:
    advance(wire, SERVER)
    for sequence in (1, 2, 7_000_000, 7_000_001, 7_000_002, 7_000_003):
        assert traffic(wire, CLIENT, sequence) is None
    assert advance(wire, CLIENT, 8_000_000) is None


def test_one_packet_that_does_not_fit_disqualifies_after(wire: Wire) -> None:
    advance(wire, SERVER)
    assert advance(wire, CLIENT) is not None
    sighting = traffic(wire, CLIENT, 7_000_000)
    assert sighting is not None
    assert sighting.withdrawn
    assert sighting.evidence is Evidence.INITIATION
    wire.wait(RENEWAL)
    advance(wire, SERVER, 20)
    assert advance(wire, CLIENT, 7_000_001) is None


def test_random_numbers_are_no_sequence() -> None:
    """What an SPI and a number would be in traffic that has neither."""
    draw = random.Random(4500)
    for _ in range(200):
        wire = Wire()
        for _ in range(50):
            for sender, token in ((CLIENT, b"up"), (SERVER, b"down")):
                traffic(wire, sender, draw.getrandbits(32), token)
                wire.wait(0.02)
        assert wire.table.counts() == {("example", Evidence.INITIATION): 1}


def test_two_tokens_do_not_add_up(wire: Wire) -> None:
    advance(wire, SERVER)
    for token in (b"old", b"new"):
        for sequence in (1, 2):
            assert traffic(wire, CLIENT, sequence, token) is None
    assert traffic(wire, CLIENT, 3, b"new") is not None


def test_only_so_many_sequences_are_remembered(wire: Wire) -> None:
    advance(wire, SERVER)
    for number in range(MOST_SEQUENCES):
        traffic(wire, CLIENT, 1, bytes([number]))
    used = wire.table.bytes_used
    for number in range(MOST_SEQUENCES, 100):
        traffic(wire, CLIENT, 1, bytes([number]))
    assert wire.table.bytes_used == used
    assert advance(wire, CLIENT) is None  # what the server sent is forgotten


def test_running_traffic_confirms_again_every_now_and_then(wire: Wire) -> None:
    def round_of(sequence: int) -> Sighting | None:
        sightings = [traffic(wire, end, sequence) for end in (CLIENT, SERVER)]
        return next((one for one in sightings if one), None)

    for sequence in (1, 2):
        round_of(sequence)
    assert round_of(3) is not None
    sequence, said = 4, []
    for second in range(1, 2 * RENEWAL + 5):
        wire.wait(1)
        sighting = round_of(sequence)
        sequence += 1
        if sighting is not None:
            assert sighting.repeated
            said.append(second)
    assert said == [RENEWAL, 2 * RENEWAL]


def test_both_ends_have_to_be_seen_at_opposite_hooks(wire: Wire) -> None:
    for sequence in range(1, 10):
        traffic(wire, CLIENT, sequence, gate=IN)
        assert traffic(wire, SERVER, sequence, gate=IN) is None
    for sequence in range(10, 13):  # now the other end is seen where it should be
        sighting = traffic(wire, SERVER, sequence, b"another", gate=OUT)
    assert sighting is None  # and still comes in where it should not


def test_between_two_subscribers_every_packet_is_seen_twice(wire: Wire) -> None:
    sightings = [
        traffic(wire, sender, sequence, gate=gate)
        for sequence in (1, 2, 3)
        for sender in (CLIENT, SERVER)
        for gate in (IN, OUT)
    ]
    (first, confirmed) = [one for one in sightings if one]
    assert first.evidence is Evidence.INITIATION
    assert confirmed.evidence is Evidence.CONFIRMED
    assert sightings.index(confirmed) == len(sightings) - 1
    assert confirmed.crossing == (frozenset({IN, OUT}), frozenset({IN, OUT}))


def test_where_an_end_was_seen_it_has_to_be_seen_going_on(wire: Wire) -> None:
    """Copies that are lost do not make one subscriber of two."""
    for sequence in (1, 2, 3):
        assert traffic(wire, SERVER, sequence, gate=OUT) is None or sequence == 1
        if sequence < 3:
            traffic(wire, SERVER, sequence, gate=IN)
            traffic(wire, CLIENT, sequence, gate=OUT)
        assert traffic(wire, CLIENT, sequence, gate=IN) is None
    assert traffic(wire, SERVER, 3, gate=IN) is None
    sighting = traffic(wire, CLIENT, 3, gate=OUT)
    assert sighting is not None
    assert sighting.crossing == (frozenset({IN, OUT}), frozenset({IN, OUT}))
