# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged handshakes of all five tunnels, from packet to flow table."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutations import mutated
from tests.unit.flows.listing import sightings
from tests.unit.signatures.traffic import ETHERNET, frames, payload_of
from tests.unit.tunnels import (
    conversations,
    test_l2tp,
    test_openvpn,
    test_pptp,
    test_wireguard,
)
from tests.unit.tunnels.crafting import network
from vpngate.flows import FlowTable
from vpngate.packets import Packet, Transport, decode
from vpngate.recognition import Evidence, Heard
from vpngate.signatures.predicate import matches
from vpngate.tunnels import Recogniser, all_tunnels

TUNNELS = all_tunnels()
SIGNATURES = [s for tunnel in TUNNELS for s in tunnel.signatures]
RECOGNISER = Recogniser(TUNNELS)
SECOND = {tunnel: tunnel.second() for tunnel in TUNNELS}

# Whole messages: what conversations say, and what each tunnel's own tests craft.
_SAID = {
    transport: [
        payload
        for conversation in conversations.CONVERSATIONS
        if conversation.transport is transport
        for _, payload in conversation.said
    ]
    for transport in Transport
}
_SAID[Transport.UDP] += [
    test_wireguard.INITIATION,
    test_wireguard.RESPONSE,
    test_wireguard.COOKIE,
    test_l2tp.REQUEST,
    test_l2tp.REPLY_3,
    *test_openvpn.every_message(),
]
_SAID[Transport.TCP] += [
    test_pptp.REQUEST,
    test_pptp.REPLY,
    *(len(m).to_bytes(2) + m for m in test_openvpn.every_message()),
]
# And whatever fits a signature, filled with noise.
for _signature in SIGNATURES:
    _random = Random(_signature.name)
    _SAID[_signature.transport] += [
        payload_of(_random, shape) for shape in _signature.shapes for _ in range(2)
    ]

_PORTS = st.sampled_from([500, 4500, 1701, 1723, 1194, 443, 51820, 40000])
_FRAMES = [
    frame[ETHERNET:]
    for signature in SIGNATURES
    for frame in frames(signature, 40, seed=7)
]


@st.composite
def _packets(draw: st.DrawFn) -> bytes:
    """A sound packet around a payload that may be damaged."""
    transport = draw(st.sampled_from(Transport))
    payload = draw(mutated(_SAID[transport], most=3))
    return network(
        transport,
        payload,
        (draw(_PORTS), draw(_PORTS)),
        back=draw(st.booleans()),
        ipv6=draw(st.booleans()),
    )


def _decoded(raw: bytes) -> Packet:
    packet = decode(raw)
    assert packet is not None
    return packet


@given(_packets())
def test_what_is_recognised_passes_its_signature(raw: bytes) -> None:
    packet = _decoded(raw)
    found = RECOGNISER.recognise(packet)
    readers = [tunnel for tunnel in TUNNELS if tunnel.read(packet) is not None]
    if found is None:
        # The readers of other ports apart, nobody recognises what no filter passes.
        assert not any(
            tunnel.read(packet) and matches(signature, raw)
            for tunnel in TUNNELS
            for signature in tunnel.signatures
        )
        return
    tunnel, message = found
    assert tunnel in readers
    assert any(matches(signature, raw) for signature in tunnel.signatures)
    assert message == tunnel.read(packet)
    assert len(message.token) <= 32
    assert 0 <= message.sequence < 1 << 32
    covered = tunnel.covers(packet.flow)
    assert covered[0] == packet.flow
    assert len(covered) == len(set(covered)) <= 3


@given(_packets(), st.integers(0, 200))
def test_a_shorter_capture_says_the_same_or_nothing(raw: bytes, size: int) -> None:
    """Of WireGuard, OpenVPN and PPTP; IKE and L2TP take what is missing on trust."""
    whole = _decoded(raw)
    cut = whole._replace(payload=whole.payload[:size])
    for tunnel in TUNNELS:
        message, expected = tunnel.read(cut), tunnel.read(whole)
        if message is not None and expected is not None:
            assert message.role is expected.role
            assert message.name == expected.name


@given(_packets(), st.integers(0, 1500))
def test_the_second_reader_sees_the_same_or_less(raw: bytes, size: int) -> None:
    """Less only of a message that is cut, or goes on in another segment."""
    whole = _decoded(raw)
    cut = whole._replace(payload=whole.payload[:size])
    for tunnel in TUNNELS:
        for packet in (whole, cut):
            seen = SECOND[tunnel](packet)
            second, first = seen and seen.message, tunnel.read(packet)
            assert second in (None, first)
            if packet.transport is not Transport.TCP and not packet.truncated:
                assert second == first


@given(mutated(_FRAMES) | st.sampled_from(_FRAMES))
def test_any_damage_to_a_packet_is_harmless(raw: bytes) -> None:
    packet = decode(raw)
    if packet is None:
        return
    assert len(packet.payload) <= packet.length
    assert 0 <= packet.source.port <= 0xFFFF
    str(packet.source)
    for tunnel in TUNNELS:
        tunnel.read(packet)
        SECOND[tunnel](packet)
    RECOGNISER.recognise(packet)
    for signature in SIGNATURES:
        matches(signature, raw)


@given(st.lists(st.tuples(_packets(), st.floats(-400, 700)), max_size=25))
def test_the_flow_table_keeps_its_promises(said: list[tuple[bytes, float]]) -> None:
    most_flows, most_bytes = 4, 6000
    table = FlowTable(most_flows, lambda *_: True, most_bytes)
    now = 1_000.0
    heard = set()
    for raw, step in said:
        now += step  # the clock of a capture may go back
        packet = _decoded(raw)
        found = RECOGNISER.recognise(packet)
        if found is None:
            continue
        heard.add((packet.flow, packet.source))
        sighting = table.observe(Heard(packet, found[1]), found[0], now)
        assert len(table) <= most_flows
        assert table.bytes_used <= most_bytes
        assert sum(table.counts().values()) == len(table) == len([*sightings(table)])
        if sighting is None:
            continue
        assert sighting.flow == packet.flow
        assert {sighting.initiator, sighting.responder} == set(packet.flow[1:])
        if sighting.evidence is Evidence.CONFIRMED:
            # Nothing is confirmed by one end alone.
            assert {(packet.flow, end) for end in packet.flow[1:]} <= heard
            assert sighting.handshakes >= 1
    table.expire(now + 10_000)
    assert table.bytes_used >= 0
