# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole conversations of OpenVPN: resets sent twice, resets that cross, and refusals.

Packets pass `decode`, the recogniser and the flow table, and count only if the second
reader agrees, as in the daemon.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from tests.unit.flows.listing import sightings
from tests.unit.tunnels.crafting import network
from tests.unit.tunnels.test_openvpn import (
    CLIENT_ID,
    HMAC_SIZES,
    PORTS,
    SERVER_ID,
    acknowledging,
    plain,
    tls_auth,
    tls_crypt,
    wrapped_key,
)
from vpngate.flows import FlowTable
from vpngate.packets import Transport, decode
from vpngate.recognition import Evidence, Heard, Tunnel
from vpngate.second_reading import Outcome, second_reading
from vpngate.tunnels import Recogniser, all_tunnels
from vpngate.tunnels.messages import openvpn_layers as wire

NOTHING, OPENED, CONFIRMED = None, Evidence.INITIATION, Evidence.CONFIRMED
Said = Sequence[tuple[str, bytes]]  # `>` from client to server, `<` back
OTHER_ID = b"\x05" * 8


def amounts_to(said: Said, transport: Transport) -> Evidence | None:
    def agree(tunnel: Tunnel, heard: Sequence[Heard]) -> bool:
        outcome = second_reading(tunnel, heard)
        assert outcome is Outcome.AGREED, "the two readings differ"
        return True

    table, recogniser = FlowTable(10, agree), Recogniser(all_tunnels())
    for now, (way, payload) in enumerate(said):
        packet = decode(network(transport, payload, PORTS, back=way == "<"))
        assert packet is not None
        found = recogniser.recognise(packet)
        if found is not None:
            table.observe(Heard(packet, found[1]), found[0], now / 10)
    seen = [sighting.evidence for sighting in sightings(table)]
    assert len(seen) <= 1
    return seen[0] if seen else None


def on(transport: Transport, *said: tuple[str, bytes]) -> Said:
    if transport is Transport.UDP:
        return said
    return [(way, bytes(wire.OverTCP() / payload)) for way, payload in said]


both_transports = pytest.mark.parametrize(
    "transport", [Transport.UDP, Transport.TCP], ids=lambda t: t.label
)
Made = Callable[..., bytes]
IN_CLEAR: list[Made] = [plain, *(partial(tls_auth, size) for size in HMAC_SIZES)]
in_clear = pytest.mark.parametrize(
    "made", IN_CLEAR, ids=["plain", *map(str, HMAC_SIZES)]
)


def resets(made: Made) -> tuple[bytes, bytes]:
    """A client's, sent twice, as packets 0 and 1."""
    reset = partial(made, wire.CLIENT_RESET_V2, session_id=CLIENT_ID)
    return reset(packet_id=0), reset(packet_id=1)


@both_transports
@in_clear
@pytest.mark.parametrize("acks", [(0,), (1, 0), (0, 1)], ids=str)
def test_one_answer_to_two_resets(
    transport: Transport, made: Made, acks: tuple[int, ...]
) -> None:
    one, two = resets(made)
    answer = made(wire.SERVER_RESET_V2, **acknowledging(*acks))
    said = on(transport, (">", one), (">", two), ("<", answer))
    assert amounts_to(said, transport) is CONFIRMED
    assert amounts_to(said[:2], transport) is OPENED
    assert amounts_to(said[1:], transport) is NOTHING


def test_two_resets_in_one_segment() -> None:
    answer = plain(wire.SERVER_RESET_V2, **acknowledging(0, 1))
    one, two, last = on(
        Transport.TCP, *((">", reset) for reset in resets(plain)), ("<", answer)
    )
    said = [(">", one[1] + two[1]), last]
    assert amounts_to(said, Transport.TCP) is CONFIRMED


@both_transports
@in_clear
def test_resets_that_cross(transport: Transport, made: Made) -> None:
    """Whichever comes first, the acknowledgement that names the client confirms."""
    reset, _ = resets(made)
    crossing = made(wire.SERVER_RESET_V2, session_id=SERVER_ID)
    named = {"session_id": CLIENT_ID, "acks": [0], "remote_session_id": SERVER_ID}
    again = made(wire.CLIENT_RESET_V2, **named)
    ack = made(wire.ACK_V1, **acknowledging(0))
    for first in ([(">", reset), ("<", crossing)], [("<", crossing), (">", reset)]):
        opened = on(transport, *first, (">", again))
        assert amounts_to(opened, transport) is OPENED
        said = [*opened, *on(transport, ("<", ack))]
        assert amounts_to(said, transport) is CONFIRMED
        # The client's own names nobody who opened.
        own = [*opened, *on(transport, (">", made(wire.ACK_V1, **named)))]
        assert amounts_to(own, transport) is OPENED


@both_transports
def test_resets_that_cross_under_tls_crypt(transport: Transport) -> None:
    client = partial(tls_crypt, session=CLIENT_ID)
    server = partial(tls_crypt, session=SERVER_ID)
    opened = [
        (">", client(wire.CLIENT_RESET_V2, size=5)),
        ("<", server(wire.SERVER_RESET_V2, size=5)),
        (">", client(wire.CLIENT_RESET_V2, size=17, replay_id=2)),
        ("<", server(wire.ACK_V1, size=13, replay_id=2)),
    ]
    following = (">", client(wire.CONTROL_V1, size=300, replay_id=3))
    assert amounts_to(on(transport, *opened), transport) is OPENED
    assert amounts_to(on(transport, *opened, following), transport) is CONFIRMED


@both_transports
def test_another_magic_number(transport: Transport) -> None:
    key = wrapped_key(299)
    said = on(
        transport,
        (">", tls_crypt(wire.CLIENT_RESET_V3, CLIENT_ID, 5, 0x0A010001) + key),
        ("<", tls_crypt(wire.SERVER_RESET_V2, SERVER_ID, 17)),
        (">", tls_crypt(wire.CONTROL_V1, CLIENT_ID, 300, 0x0A010002)),
    )
    assert amounts_to(said, transport) is CONFIRMED


@both_transports
@in_clear
@pytest.mark.parametrize(
    ("opcode", "changes"),
    [
        (wire.SERVER_RESET_V2, {"remote_session_id": OTHER_ID}),
        (wire.SERVER_RESET_V2, {"acks": [1]}),
        (wire.SERVER_RESET_V2, {"acks": [0, 0]}),
        (wire.SERVER_RESET_V2, {"packet_id": 1}),
        (wire.SERVER_RESET_V2, {"acks": []}),
        (wire.ACK_V1, {"remote_session_id": OTHER_ID}),
        (wire.ACK_V1, {"acks": [1]}),
        (wire.ACK_V1, {"acks": []}),
    ],
)
def test_no_answer(
    transport: Transport, made: Made, opcode: int, changes: dict[str, Any]
) -> None:
    reset, _ = resets(made)
    wrong = made(opcode, **{**acknowledging(0), **changes})
    said = on(transport, (">", reset), ("<", wrong))
    assert amounts_to(said, transport) is OPENED
    # An answer before anything was asked, and what an echo would send.
    answer = made(opcode, **acknowledging(0))
    late = on(transport, ("<", answer), (">", reset))
    assert amounts_to(late, transport) is OPENED
    echo = on(transport, (">", reset), ("<", reset), ("<", answer))
    assert amounts_to(echo, transport) is OPENED
