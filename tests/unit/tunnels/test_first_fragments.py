# SPDX-License-Identifier: GPL-2.0-or-later
"""A handshake that does not fit a packet: its first IP fragment is enough, for IKE.

An ML-KEM-1024 key in IKE_SA_INIT, or certificates in aggressive mode, take more than
a packet. Nobody puts fragments together: the later ones are no packet here.
"""

from collections.abc import Iterator

import pytest

from tests.unit.flows.listing import sightings
from tests.unit.tunnels import test_l2tp, test_wireguard
from tests.unit.tunnels.crafting import network
from tests.unit.tunnels.test_ipsec import NONE, ike, payload
from vpngate.flows import FlowTable
from vpngate.packets import Transport, decode
from vpngate.recognition import Evidence, Heard
from vpngate.signatures.predicate import matches
from vpngate.tunnels import Recogniser, all_tunnels

TUNNELS = all_tunnels()
SIGNATURES = [signature for tunnel in TUNNELS for signature in tunnel.signatures]
RECOGNISER = Recogniser(TUNNELS)
MARKER = bytes(4)
ROOM = 1456  # bytes of a fragment's payload, a multiple of 8

# SA, a key of ML-KEM-1024, nonce; and SA with its domain, a key, a certificate.
_POST_QUANTUM = (
    payload(34, bytes(40)) + payload(40, bytes(4 + 1568)) + payload(0, bytes(32))
)
_SA_1 = payload(4, (1).to_bytes(4) * 2 + bytes(40))
_LONG = _SA_1 + payload(6, bytes(256)) + payload(0, bytes(1800))
SA_INIT = ike(_POST_QUANTUM, 33, 34, 0x08, responder=NONE)
OPENINGS = {
    "IKE_SA_INIT": (SA_INIT, ike(_POST_QUANTUM, 33, 34, 0x20)),
    "aggressive mode": (
        ike(_LONG, 1, 4, version=1, responder=NONE),
        ike(_LONG, 1, 4, version=1),
    ),
}


def fragments(whole: bytes, room: int = ROOM) -> Iterator[bytes]:
    """A packet's fragments, from their IP headers on (RFC 791, RFC 8200)."""
    ipv6 = whole[0] >> 4 == 6
    size = 40 if ipv6 else 20
    header, segment = bytearray(whole[:size]), whole[size:]
    for at in range(0, len(segment), room):
        part, more = segment[at : at + room], at + room < len(segment)
        if ipv6:
            extension = bytes((header[6], 0)) + (at | more).to_bytes(2) + b"same"
            length = (len(extension) + len(part)).to_bytes(2)
            yield bytes(header[:4]) + length + b"\x2c" + header[7:] + extension + part
        else:
            header[2:4] = (size + len(part)).to_bytes(2)
            header[6:8] = (at // 8 | 0x2000 * more).to_bytes(2)
            yield bytes(header) + part


def passes(packet: bytes) -> bool:
    return any(matches(signature, packet) for signature in SIGNATURES)


@pytest.mark.parametrize("ipv6", [False, True])
@pytest.mark.parametrize("port", [500, 4500])
@pytest.mark.parametrize("opening", OPENINGS)
def test_an_exchange_is_confirmed_by_first_fragments(
    opening: str, port: int, *, ipv6: bool
) -> None:
    table = FlowTable(10, lambda *_: True)
    marker = MARKER if port == 4500 else b""
    for now, message in enumerate(OPENINGS[opening]):
        whole = network(
            *(Transport.UDP, marker + message, (port, port)),
            back=bool(now),
            ipv6=ipv6,
        )
        first, *later = fragments(whole)
        assert later
        assert passes(first)
        for fragment in later:
            assert not passes(fragment)
            assert decode(fragment) is None
        packet = decode(first)
        assert packet is not None
        assert packet.truncated
        assert packet.length == len(marker + message)
        found = RECOGNISER.recognise(packet)
        assert found is not None
        table.observe(Heard(packet, found[1]), found[0], now)
    (sighting,) = sightings(table)
    assert sighting.evidence is Evidence.CONFIRMED


@pytest.mark.parametrize("ipv6", [False, True])
@pytest.mark.parametrize(
    ("message", "ports"),
    [
        (test_wireguard.INITIATION, (40000, 51820)),
        (test_l2tp.REQUEST, (1701, 1701)),
    ],
    ids=["WireGuard", "L2TP"],
)
def test_of_what_fits_a_packet_a_fragment_is_not_enough(
    message: bytes, ports: tuple[int, int], *, ipv6: bool
) -> None:
    whole = network(Transport.UDP, message, ports, ipv6=ipv6)
    assert passes(whole)
    first, _ = fragments(whole, len(message) // 8 * 8)
    assert not passes(first)


def test_a_fragment_header_around_a_whole_datagram_changes_nothing() -> None:
    """RFC 6946: an atomic fragment."""
    whole = network(Transport.UDP, SA_INIT, (500, 500), ipv6=True)
    (atomic,) = fragments(whole, 4096)
    assert atomic != whole
    assert passes(atomic)
    packet = decode(atomic)
    assert packet is not None
    assert not packet.truncated
