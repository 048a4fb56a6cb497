# SPDX-License-Identifier: GPL-2.0-or-later
"""IPsec: ESP in IP, and in UDP."""

from struct import pack

import pytest
from scapy.layers.ipsec import ESP

from tests.unit.tunnels.crafting import cut, ends, packet, read
from vpngate.packets import FlowKey, Transport
from vpngate.recognition import Message, Role
from vpngate.tunnels.ipsec import TUNNEL

IKE, NATT = (500, 500), (4500, 4500)
ESP_PACKET = pack(">II", 0x1234, 7) + bytes(28)


def esp(payload_: bytes, *, ipv6: bool = False) -> Message | None:
    return read(TUNNEL, Transport.ESP, payload_, ipv6=ipv6)


@pytest.mark.parametrize("ipv6", [False, True])
def test_esp_shows_its_spi_and_its_sequence_number(*, ipv6: bool) -> None:
    assert ESP(ESP_PACKET).spi == 0x1234
    assert ESP(ESP_PACKET).seq == 7
    expected = Message(Role.TRAFFIC, "ESP", b"\0\0\x12\x34", sequence=7)
    assert esp(ESP_PACKET, ipv6=ipv6) == expected


@pytest.mark.parametrize(
    ("spi", "known"), [(0, False), (0x65, False), (255, False), (256, True)]
)
def test_reserved_spis_are_none(spi: int, *, known: bool) -> None:
    assert (esp(pack(">II", spi, 7) + bytes(28)) is not None) is known


@pytest.mark.parametrize("ports", [IKE, NATT, (14500, 4500), (4500, 500)])
def test_esp_in_udp_is_left_alone(ports: tuple[int, int]) -> None:
    for back in (False, True):
        assert read(TUNNEL, Transport.UDP, ESP_PACKET, ports, back=back) is None


def test_esp_has_a_least_length() -> None:
    assert esp(ESP_PACKET[:11]) is None
    assert esp(ESP_PACKET[:12]) is not None


def test_a_cut_packet_of_esp_needs_its_header() -> None:
    whole = packet(Transport.ESP, ESP_PACKET)
    assert TUNNEL.read(cut(whole, 8)) is not None
    assert TUNNEL.read(cut(whole, 7)) is None


def test_esp_covers_itself() -> None:
    flow = FlowKey.of(Transport.ESP, *ends(Transport.ESP, (0, 0)))
    assert TUNNEL.covers(flow) == (flow,)
