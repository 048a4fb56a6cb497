# SPDX-License-Identifier: GPL-2.0-or-later
"""OpenVPN: which acknowledgements an answer to a reset may have, and which an ACK."""

from functools import partial

import pytest

from tests.unit.tunnels import crafting
from tests.unit.tunnels.test_openvpn import (
    CLIENT_ID,
    HMAC_SIZES,
    PORTS,
    SERVER_ID,
    acknowledging,
    both_transports,
    plain,
    read,
    tls_auth,
    tls_crypt,
)
from vpngate.packets import Transport
from vpngate.recognition import Message, Role
from vpngate.tunnels.messages import openvpn_layers as wire
from vpngate.tunnels.openvpn import TUNNEL

ACKS = [(0,), (1, 0), (0, 1), (0, 7), (2, 1, 0), (0, 1, 2, 3)]


@both_transports
@pytest.mark.parametrize("acks", ACKS, ids=str)
@pytest.mark.parametrize("opcode", [wire.SERVER_RESET_V1, wire.SERVER_RESET_V2])
def test_an_answer_to_a_reset_that_was_sent_twice(
    transport: Transport, opcode: int, acks: tuple[int, ...]
) -> None:
    name = f"server reset v{1 if opcode == wire.SERVER_RESET_V1 else 2}"
    expected = Message(Role.RESPONSE, name, CLIENT_ID)
    answer = plain(opcode, **acknowledging(*acks))
    assert len(answer) == 22 + 4 * len(acks)
    assert read(answer, transport) == expected
    for size in HMAC_SIZES:
        answer = tls_auth(size, opcode, **acknowledging(*acks))
        assert read(answer, transport) == expected
    answer = tls_crypt(wire.SERVER_RESET_V2, SERVER_ID, 13 + 4 * len(acks))
    assert read(answer, transport) == Message(
        Role.RESPONSE, "server reset v2", conclusive=False
    )


@both_transports
@pytest.mark.parametrize("acks", ACKS, ids=str)
def test_where_resets_cross_an_ack_answers(
    transport: Transport, acks: tuple[int, ...]
) -> None:
    ack = plain(wire.ACK_V1, **acknowledging(*acks))
    assert len(ack) == 18 + 4 * len(acks)
    expected = Message(Role.RESPONSE, "ack v1", CLIENT_ID)
    assert read(ack, transport) == expected
    for size in HMAC_SIZES:
        ack = tls_auth(size, wire.ACK_V1, **acknowledging(*acks))
        assert read(ack, transport) == expected


@both_transports
def test_where_resets_cross_one_acknowledges_nothing(transport: Transport) -> None:
    """Under tls-crypt it is an answer like another; in clear it would name nobody."""
    crossing = tls_crypt(wire.SERVER_RESET_V2, SERVER_ID, 5)
    assert read(crossing, transport) == Message(
        Role.RESPONSE, "server reset v2", conclusive=False
    )
    assert read(plain(wire.SERVER_RESET_V2, session_id=SERVER_ID), transport) is None


@both_transports
@pytest.mark.parametrize(
    "acks", [(), (1,), (1, 2), (0, 0), (0, 8), (0, 256), (0, 1, 2, 3, 4)], ids=str
)
def test_acks_of_no_first_answer(transport: Transport, acks: tuple[int, ...]) -> None:
    fields = acknowledging(*acks)
    for message in (
        plain(wire.SERVER_RESET_V2, **fields),
        plain(wire.ACK_V1, **fields),
        tls_auth(20, wire.SERVER_RESET_V2, **fields),
        tls_auth(64, wire.ACK_V1, **fields),
    ):
        assert read(message, transport) is None


@pytest.mark.parametrize("missing", range(1, 9))
def test_the_session_that_an_ack_names_is_whole(missing: int) -> None:
    for made in (plain, partial(tls_auth, 20), partial(tls_auth, 64)):
        ack = made(wire.ACK_V1, **acknowledging(0))[:-missing]
        packet = crafting.packet(Transport.UDP, ack, PORTS)
        second = TUNNEL.second()(packet)
        assert TUNNEL.read(packet) is None
        assert second is None or second.message is None
