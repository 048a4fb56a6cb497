# SPDX-License-Identifier: GPL-2.0-or-later
"""What vpngate leaves alone on purpose: a part of the product, like what it finds.

Knows the boundaries of the design; the packets are crafted (see `crafted.py`).
"""

from itertools import chain
from struct import pack

import pytest

from tests.unit.crafted import (
    Crafted,
    constant_and_growing,
    disguised,
    everyday,
    other_tunnels,
    undisguised,
)
from tests.unit.tunnels.crafting import network
from vpngate.packets import Transport, decode, parse_address
from vpngate.signatures.predicate import matches
from vpngate.tunnels import Recogniser, all_tunnels

TUNNELS = all_tunnels()
RECOGNISER = Recogniser(TUNNELS)
# Ports that a tunnel has, and other traffic may have as well.
SHARED_PORTS = (500, 1194, 1701, 4500, 51820)


def cases(*traffic: Crafted) -> list[object]:
    return [pytest.param(t, id=f"{t.kind} {t.ports[1]}") for t in traffic]


ORDINARY = cases(
    *chain(
        disguised(),
        everyday(),
        constant_and_growing(),
        other_tunnels(),
        *(everyday(port) for port in SHARED_PORTS),
    )
)


@pytest.mark.parametrize("traffic", ORDINARY)
@pytest.mark.parametrize("ipv6", [False, True])
def test_it_passes_no_signature_and_holds_no_message(
    traffic: Crafted, *, ipv6: bool
) -> None:
    assert traffic.up
    for payload, back in traffic.packets:
        raw = network(traffic.transport, payload, traffic.ports, back=back, ipv6=ipv6)
        packet = decode(raw)
        assert packet is not None
        assert packet.payload == payload
        assert RECOGNISER.recognise(packet) is None
        passed = [s.name for t in TUNNELS for s in t.signatures if matches(s, raw)]
        assert passed == []


@pytest.mark.parametrize("traffic", cases(*undisguised()))
def test_what_is_not_disguised_is_seen(traffic: Crafted) -> None:
    for payload, back in traffic.packets:
        raw = network(traffic.transport, payload, traffic.ports, back=back)
        packet = decode(raw)
        assert packet is not None
        assert RECOGNISER.recognise(packet) is not None
        assert any(matches(s, raw) for t in TUNNELS for s in t.signatures)


@pytest.mark.parametrize("traffic", cases(*other_tunnels()))
def test_the_other_encapsulations_hold_nothing_on_any_transport(
    traffic: Crafted,
) -> None:
    for payload, back in traffic.packets:
        for transport in (Transport.UDP, Transport.TCP):
            raw = network(transport, payload, (40000, 40001), back=back)
            packet = decode(raw)
            assert packet is not None
            assert RECOGNISER.recognise(packet) is None


# IP in IP, 6in4, AH, EtherIP, OSPF, PIM, IPComp, L2TPv3 straight over IP, SCTP.
@pytest.mark.parametrize("protocol", [4, 41, 51, 97, 89, 103, 108, 115, 132])
def test_other_ip_protocols_are_not_even_decoded(protocol: int) -> None:
    ends = parse_address("192.0.2.1") + parse_address("198.51.100.2")
    esp = pack(">II", 0x1234, 1) + bytes(24)
    authenticated = pack(">BBHII", 50, 4, 0, 0x1234, 1) + bytes(12) + esp
    header = pack(">BBHHHBBH", 0x45, 0, 20 + len(authenticated), 1, 0, 64, protocol, 0)
    raw = header + ends + authenticated
    assert decode(raw) is None
    assert not any(matches(s, raw) for t in TUNNELS for s in t.signatures)
