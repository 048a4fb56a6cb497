# SPDX-License-Identifier: GPL-2.0-or-later
"""WireGuard's handshake messages, read from bytes and held against scapy's classes."""

from random import Random

import pytest
from scapy.contrib.wireguard import Wireguard as Header
from scapy.contrib.wireguard import (
    WireguardCookieReply,
    WireguardInitiation,
    WireguardResponse,
)

from tests.unit.tunnels import crafting
from vpngate.packets import Transport
from vpngate.recognition import Message, Role
from vpngate.tunnels.wireguard import TUNNEL

PORTS = (41255, 51820)
INDEX = 0x8F20A1C3
TOKEN = bytes.fromhex("c3a1208f")  # little-endian

INITIATION = bytes(
    Header(message_type=1) / WireguardInitiation(sender_index=INDEX, mac1=b"m" * 16)
)
RESPONSE = bytes(
    Header(message_type=2) / WireguardResponse(sender_index=7, receiver_index=INDEX)
)
COOKIE = bytes(Header(message_type=3) / WireguardCookieReply(receiver_index=INDEX))


def read(payload: bytes, *, ipv6: bool = False) -> Message | None:
    return crafting.read(TUNNEL, Transport.UDP, payload, PORTS, ipv6=ipv6)


@pytest.mark.parametrize("ipv6", [False, True])
@pytest.mark.parametrize(
    ("payload", "role", "name"),
    [
        (INITIATION, Role.INITIATION, "handshake initiation"),
        (RESPONSE, Role.RESPONSE, "handshake response"),
        (COOKIE, Role.RESPONSE, "cookie reply"),
    ],
)
def test_messages(payload: bytes, role: Role, name: str, *, ipv6: bool) -> None:
    assert read(payload, ipv6=ipv6) == Message(role, name, TOKEN)


@pytest.mark.parametrize("payload", [INITIATION, RESPONSE, COOKIE])
def test_every_fixed_byte_counts(payload: bytes) -> None:
    for at in range(4):
        for bit in range(8):
            assert read(crafting.flipped(payload, at, 1 << bit)) is None
    assert read(payload[:-1]) is None
    assert read(payload + b"\0") is None


def test_what_is_encrypted_does_not_count() -> None:
    random = Random(3)
    for _ in range(50):
        message = read(INITIATION[:8] + random.randbytes(140))
        assert message is not None
        assert message.token == TOKEN


def test_transport_data_is_no_message() -> None:
    for size in (32, 64, 92, 148, 1452):
        assert read(b"\4\0\0\0" + bytes(size - 4)) is None


def test_a_cut_message_is_read_as_far_as_its_index() -> None:
    whole = crafting.packet(Transport.UDP, RESPONSE, PORTS)
    assert TUNNEL.read(crafting.cut(whole, 12)) is not None
    assert TUNNEL.read(crafting.cut(whole, 11)) is None


def test_padded_and_scrambled_variants_are_left_alone() -> None:
    """Crafted: AmneziaWG's junk sizes and changed types, TunnelBear's padding."""
    junk = bytes(range(40))
    assert read(junk + INITIATION) is None
    assert read(INITIATION + junk) is None
    assert read((1_020_325_451).to_bytes(4, "little") + INITIATION[4:]) is None


def test_scapy_and_we_agree() -> None:
    """scapy takes more for a message than we do, and never names another index."""
    random = Random(4)
    fields = {
        1: (WireguardInitiation, "sender_index"),
        2: (WireguardResponse, "receiver_index"),
        3: (WireguardCookieReply, "receiver_index"),
    }
    for payload in (INITIATION, RESPONSE, COOKIE):
        for _ in range(200):
            mutated = bytearray(payload)
            for _ in range(2):
                mutated[random.randrange(len(mutated))] ^= 1 << random.randrange(8)
            message = read(bytes(mutated))
            if message is None:
                continue
            layer, index = fields[mutated[0]]
            dissected = Header(bytes(mutated))
            assert dissected.haslayer(layer)
            named = getattr(dissected[layer], index)
            assert named.to_bytes(4, "little") == message.token


def test_a_verdict_covers_its_own_flow() -> None:
    flow = crafting.packet(Transport.UDP, INITIATION, PORTS).flow
    assert TUNNEL.covers(flow) == (flow,)
