# SPDX-License-Identifier: GPL-2.0-or-later
"""OpenVPN's first packets, built from scapy's description and read from bytes."""

from random import Random
from typing import Any

import pytest

from tests.unit.tunnels import crafting
from vpngate.packets import Transport
from vpngate.recognition import Message, Role
from vpngate.tunnels.messages import openvpn_layers as wire
from vpngate.tunnels.openvpn import TUNNEL

PORTS = (55161, 1194)
CLIENT_ID = bytes.fromhex("d3ec6aff1855b63a")
SERVER_ID = bytes.fromhex("f31b16d5877d427f")
HMAC_SIZES = (16, 20, 28, 32, 36, 48, 64)
NOW = 0x6B052454

ANSWER: dict[str, Any] = {
    "session_id": SERVER_ID,
    "acks": [0],
    "remote_session_id": CLIENT_ID,
    "packet_id": 0,
}


def plain(opcode: int, **fields: Any) -> bytes:
    return bytes(wire.PlainControl(opcode=opcode, **fields))


def tls_auth(size: int, opcode: int, **fields: Any) -> bytes:
    values = {"hmac": Random(size).randbytes(size), "time": NOW, **fields}
    return bytes(wire.tls_auth(size)(opcode=opcode, **values))


def tls_crypt(opcode: int, session: bytes, size: int, replay_id: int = 1) -> bytes:
    """`size` is that of the encrypted part."""
    random = Random(size)
    return bytes(
        wire.ControlTlsCrypt(
            opcode=opcode,
            session_id=session,
            replay_id=replay_id,
            time=NOW,
            tag=random.randbytes(32),
            encrypted=random.randbytes(size),
        )
    )


def wrapped_key(size: int) -> bytes:
    return Random(size).randbytes(size - 2) + size.to_bytes(2)


def acknowledging(*acks: int) -> dict[str, Any]:
    """Fields of an answer; a packet of acknowledgements alone has no packet id."""
    return {**ANSWER, "acks": [*acks]}


def read(
    payload: bytes, transport: Transport = Transport.UDP, *, ipv6: bool = False
) -> Message | None:
    if transport is Transport.TCP:
        payload = bytes(wire.OverTCP() / payload)
    return crafting.read(TUNNEL, transport, payload, PORTS, ipv6=ipv6)


both_transports = pytest.mark.parametrize(
    "transport", [Transport.UDP, Transport.TCP], ids=lambda t: t.label
)


@both_transports
@pytest.mark.parametrize("ipv6", [False, True])
@pytest.mark.parametrize("version", [1, 2])
def test_plain(transport: Transport, version: int, *, ipv6: bool) -> None:
    client = {1: wire.CLIENT_RESET_V1, 2: wire.CLIENT_RESET_V2}[version]
    server = {1: wire.SERVER_RESET_V1, 2: wire.SERVER_RESET_V2}[version]
    reset = plain(client, session_id=CLIENT_ID)
    assert len(reset) == 14
    assert read(reset, transport, ipv6=ipv6) == Message(
        Role.INITIATION, f"client reset v{version}", CLIENT_ID
    )
    answer = plain(server, **ANSWER)
    assert len(answer) == 26
    assert read(answer, transport, ipv6=ipv6) == Message(
        Role.RESPONSE, f"server reset v{version}", CLIENT_ID
    )


@both_transports
@pytest.mark.parametrize("size", HMAC_SIZES)
def test_tls_auth(transport: Transport, size: int) -> None:
    reset = tls_auth(size, wire.CLIENT_RESET_V2, session_id=CLIENT_ID)
    assert len(reset) == 22 + size
    assert read(reset, transport) == Message(
        Role.INITIATION, "client reset v2", CLIENT_ID
    )
    answer = tls_auth(size, wire.SERVER_RESET_V2, **ANSWER)
    assert read(answer, transport) == Message(
        Role.RESPONSE, "server reset v2", CLIENT_ID
    )


@both_transports
@pytest.mark.parametrize("flag", [b"", bytes.fromhex("000100020001")])
def test_tls_crypt_is_confirmed_by_the_client(
    transport: Transport, flag: bytes
) -> None:
    reset = tls_crypt(wire.CLIENT_RESET_V2, CLIENT_ID, 5)
    assert read(reset, transport) == Message(
        Role.INITIATION, "client reset v2", CLIENT_ID
    )
    answer = tls_crypt(wire.SERVER_RESET_V2, SERVER_ID, 17 + len(flag))
    assert read(answer, transport) == Message(
        Role.RESPONSE, "server reset v2", conclusive=False
    )
    for opcode, size, name in (
        (wire.ACK_V1, 13, "ack v1"),
        (wire.CONTROL_V1, 17 + 300, "control v1"),
    ):
        following = tls_crypt(opcode, CLIENT_ID, size, replay_id=2)
        assert read(following, transport) == Message(Role.FOLLOW_UP, name, CLIENT_ID)


@both_transports
@pytest.mark.parametrize("size", [290, 299, 600, 1024])
def test_tls_crypt_v2(transport: Transport, size: int) -> None:
    key = wrapped_key(size)
    for replay_id in (1, 2, 0x0F000001, 0x0F00000F, 0x0A010001, 0xF0FF000F):
        reset = tls_crypt(wire.CLIENT_RESET_V3, CLIENT_ID, 5, replay_id) + key
        assert read(reset, transport) == Message(
            Role.INITIATION, "client reset v3", CLIENT_ID
        )
    following = tls_crypt(wire.CONTROL_WKC_V1, CLIENT_ID, 317, 0x0F000002) + key
    assert read(following, transport) == Message(
        Role.FOLLOW_UP, "control wkc v1", CLIENT_ID
    )


@both_transports
@pytest.mark.parametrize("replay_id", [0, 16, 0x00010001, 0x0A010000, 0x0A010010])
def test_no_magic_number_begins_with_zero(transport: Transport, replay_id: int) -> None:
    key = wrapped_key(299)
    for message in (
        tls_crypt(wire.CLIENT_RESET_V3, CLIENT_ID, 5, replay_id) + key,
        tls_crypt(wire.CONTROL_WKC_V1, CLIENT_ID, 300, replay_id) + key,
        tls_crypt(wire.CONTROL_V1, CLIENT_ID, 300, replay_id),
        tls_crypt(wire.ACK_V1, CLIENT_ID, 13, replay_id),
    ):
        assert read(message, transport) is None


def test_another_magic_number_is_told_by_the_key() -> None:
    """So the key has to be there: in a first segment it is not."""
    for replay_id, seen in ((0x0F000001, True), (0x0A010001, False)):
        reset = tls_crypt(wire.CLIENT_RESET_V3, CLIENT_ID, 5, replay_id)
        stream = bytes(wire.OverTCP() / (reset + wrapped_key(1024)))
        for size, read_there in ((len(stream), True), (536, seen)):
            packet = crafting.packet(Transport.TCP, stream[:size], PORTS)
            second = TUNNEL.second()(packet)
            assert second is not None
            assert (TUNNEL.read(packet) is not None) is read_there
            assert (second.message is not None) is read_there


@both_transports
def test_the_key_has_to_fill_the_rest(transport: Transport) -> None:
    for wrong in (289, 300, 1025):
        reset = tls_crypt(wire.CLIENT_RESET_V3, CLIENT_ID, 5)
        assert (
            read(reset + wrapped_key(299)[:-2] + wrong.to_bytes(2), transport) is None
        )
    following = tls_crypt(wire.CONTROL_WKC_V1, CLIENT_ID, 317, 2)
    for wrong in (0, 289, 1025):
        key = bytes(400) + wrong.to_bytes(2)
        assert read(following + key, transport) is None
    # A key that would leave no room for the packet before it.
    short = tls_crypt(wire.CONTROL_WKC_V1, CLIENT_ID, 300, 2)
    assert read(short + (345).to_bytes(2), transport) is None


def test_a_message_longer_than_its_segment() -> None:
    reset = tls_crypt(wire.CLIENT_RESET_V3, CLIENT_ID, 5) + wrapped_key(1024)
    stream = bytes(wire.OverTCP() / reset)
    for size in (536, 15):
        message = crafting.read(TUNNEL, Transport.TCP, stream[:size], PORTS)
        assert message is not None
        assert message.token == CLIENT_ID
    assert crafting.read(TUNNEL, Transport.TCP, stream[:14], PORTS) is None


def test_two_messages_in_a_segment() -> None:
    reset = bytes(wire.OverTCP() / plain(wire.CLIENT_RESET_V2, session_id=CLIENT_ID))
    message = crafting.read(TUNNEL, Transport.TCP, reset + reset, PORTS)
    assert message == Message(Role.INITIATION, "client reset v2", CLIENT_ID)


def every_message() -> list[bytes]:
    messages = [
        plain(wire.CLIENT_RESET_V1, session_id=CLIENT_ID),
        plain(wire.CLIENT_RESET_V2, session_id=CLIENT_ID),
        plain(wire.SERVER_RESET_V2, **ANSWER),
        plain(wire.SERVER_RESET_V2, **acknowledging(1, 0)),
        plain(wire.ACK_V1, **acknowledging(0)),
        tls_crypt(wire.CLIENT_RESET_V2, CLIENT_ID, 5),
        tls_crypt(wire.CLIENT_RESET_V3, CLIENT_ID, 5) + wrapped_key(299),
        tls_crypt(wire.SERVER_RESET_V2, SERVER_ID, 17),
        tls_crypt(wire.ACK_V1, CLIENT_ID, 13, 2),
        tls_crypt(wire.CONTROL_V1, CLIENT_ID, 300, 2),
        tls_crypt(wire.CONTROL_WKC_V1, CLIENT_ID, 300, 2) + wrapped_key(299),
    ]
    for size in HMAC_SIZES:
        messages += [
            tls_auth(size, wire.CLIENT_RESET_V2, session_id=CLIENT_ID),
            tls_auth(size, wire.SERVER_RESET_V2, **ANSWER),
            tls_auth(size, wire.ACK_V1, **acknowledging(0)),
        ]
    return messages


@both_transports
@pytest.mark.parametrize("message", every_message(), ids=bytes.hex)
def test_lengths_are_exact(transport: Transport, message: bytes) -> None:
    assert read(message, transport) is not None
    if message[0] == wire.CONTROL_V1 << 3:
        return  # of any length
    # 54 and 66 bytes are sizes of two wrappings; a byte more or less is of none.
    assert read(message + b"\0", transport) is None
    assert read(message[:-1], transport) is None


@both_transports
@pytest.mark.parametrize("message", every_message(), ids=bytes.hex)
def test_only_key_id_zero_and_known_opcodes(
    transport: Transport, message: bytes
) -> None:
    for key_id in range(1, 8):
        assert read(crafting.flipped(message, 0, key_id), transport) is None
    for opcode in (0, 3, 6, 9, 12, 31):
        assert read(bytes([opcode << 3]) + message[1:], transport) is None


@both_transports
def test_constants_of_a_plain_reset(transport: Transport) -> None:
    reset = plain(wire.CLIENT_RESET_V2, session_id=CLIENT_ID)
    for at in range(9, 14):
        for bit in range(8):
            assert read(crafting.flipped(reset, at, 1 << bit), transport) is None
    answer = plain(wire.SERVER_RESET_V2, **ANSWER)
    for at in (*range(9, 14), *range(22, 26)):
        assert read(crafting.flipped(answer, at), transport) is None
    assert read(plain(wire.CLIENT_RESET_V2), transport) is None  # no session id


@both_transports
@pytest.mark.parametrize("replay_id", [0, 16, 256, 0x0E000001, 0x0F000000, 0x1F000001])
def test_replay_ids_of_no_first_packet(transport: Transport, replay_id: int) -> None:
    for message in (
        tls_crypt(wire.CLIENT_RESET_V2, CLIENT_ID, 5, replay_id),
        tls_crypt(wire.SERVER_RESET_V2, SERVER_ID, 17, replay_id),
        tls_auth(20, wire.CLIENT_RESET_V2, session_id=CLIENT_ID, replay_id=replay_id),
        tls_auth(64, wire.SERVER_RESET_V2, **ANSWER, replay_id=replay_id),
    ):
        assert read(message, transport) is None


def test_later_packets_are_no_message() -> None:
    for opcode in (6, 9):  # P_DATA_V1, P_DATA_V2
        for size in (14, 26, 54, 66, 100):
            assert read(bytes([opcode << 3]) + bytes(size - 1)) is None


def test_scrambled_variants_are_left_alone() -> None:
    """Crafted: the XOR patch, each byte or by position, and obfs-like randomness."""
    random = Random(5)
    for message in every_message():
        assert read(bytes(byte ^ 0x5A for byte in message)) is None
        positions = bytes(b ^ (i + 1) & 0xFF for i, b in enumerate(message))
        assert read(positions) is None
        assert read(random.randbytes(len(message))) is None


def test_a_truncated_capture_is_read_as_far_as_it_is_fixed() -> None:
    message = plain(wire.SERVER_RESET_V2, **ANSWER)
    whole = crafting.packet(Transport.UDP, message, PORTS)
    for size in range(len(message)):
        assert TUNNEL.read(crafting.cut(whole, size)) is None


def test_empty_segments() -> None:
    for payload in (b"", b"\0", b"\0\x0e", b"\0\0"):
        packet = crafting.packet(Transport.TCP, payload, PORTS)
        assert TUNNEL.read(packet) is None


def test_scapy_and_we_agree() -> None:
    """What we read of a mutated message is what scapy's description says is there."""
    random = Random(6)
    clear = plain(wire.SERVER_RESET_V2, **acknowledging(1, 0))
    kinds = [
        (wire.PlainControl, clear),
        (wire.PlainControl, plain(wire.ACK_V1, **acknowledging(0))),
        (wire.PlainControl, plain(wire.CLIENT_RESET_V2, session_id=CLIENT_ID)),
        (wire.PlainControl, plain(wire.SERVER_RESET_V2, **ANSWER)),
        (wire.tls_auth(20), tls_auth(20, wire.SERVER_RESET_V2, **ANSWER)),
        (wire.ControlTlsCrypt, tls_crypt(wire.ACK_V1, CLIENT_ID, 13, 2)),
    ]
    for kind, message in kinds:
        seen = 0
        for _ in range(400):
            at = random.randrange(len(message))
            mutated = crafting.flipped(message, at, 1 << random.randrange(8))
            found = read(mutated)
            if found is None:
                continue
            seen += 1
            dissected = kind(mutated)
            assert dissected.key_id == 0
            name = dissected.sprintf("%opcode%").lower()
            assert set(found.name.split()) <= set(name.split("_"))
            names_other = found.role is Role.RESPONSE and found.conclusive
            session = (
                dissected.remote_session_id if names_other else dissected.session_id
            )
            assert session == found.token
        assert seen > 40


def test_a_verdict_covers_its_own_flow() -> None:
    flow = crafting.packet(Transport.TCP, b"", PORTS).flow
    assert TUNNEL.covers(flow) == (flow,)
