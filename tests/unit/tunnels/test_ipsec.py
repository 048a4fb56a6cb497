# SPDX-License-Identifier: GPL-2.0-or-later
"""IPsec: both versions of IKE, on both ports. ESP is in `test_esp.py`."""

from itertools import accumulate, pairwise
from struct import pack

import pytest
from scapy.contrib.ikev2 import (
    IKEv2,
    IKEv2_Encrypted,
    IKEv2_KE,
    IKEv2_Nonce,
    IKEv2_Notify,
    IKEv2_Proposal,
    IKEv2_SA,
    IKEv2_Transform,
)
from scapy.layers.isakmp import (
    ISAKMP,
    ISAKMP_payload_Proposal,
    ISAKMP_payload_SA,
    ISAKMP_payload_VendorID,
)
from scapy.packet import Packet as Layer

from tests.unit.tunnels.crafting import cut, ends, flipped, packet, read, unsure
from vpngate.packets import Endpoint, FlowKey, Transport
from vpngate.recognition import Message, Role
from vpngate.tunnels.ipsec import TUNNEL

IKE, NATT = (500, 500), (4500, 4500)
MARKER = bytes(4)
SPI_I, SPI_R, NONE = b"\x11" * 8, b"\x22" * 8, bytes(8)
BOTH = SPI_I + SPI_R


def payload(following: int, body: bytes, flags: int = 0) -> bytes:
    return pack(">BBH", following, flags, 4 + len(body)) + body


def ike(
    body: bytes,
    first: int,
    exchange: int,
    flags: int = 0,
    *,
    version: int = 2,
    responder: bytes = SPI_R,
    message_id: int = 0,
) -> bytes:
    fixed = pack(">BBBB", first, version << 4, exchange, flags)
    return (
        SPI_I
        + responder
        + fixed
        + message_id.to_bytes(4)
        + (28 + len(body)).to_bytes(4)
        + body
    )


SA_KE_NONCE = payload(34, bytes(40)) + payload(40, bytes(68)) + payload(0, b"\x07" * 32)
SA_INIT = ike(SA_KE_NONCE, 33, 34, 0x08, responder=NONE)
SA_INIT_ANSWER = ike(SA_KE_NONCE, 33, 34, 0x20)
IKE_AUTH = ike(payload(35, bytes(64)), 46, 35, 0x08, message_id=1)
IKE_AUTH_ANSWER = ike(payload(36, bytes(64)), 46, 35, 0x20, message_id=1)

SA_1 = payload(13, pack(">II", 1, 1) + bytes(40)) + payload(0, b"\x09" * 16)
MAIN = ike(SA_1, 1, 2, version=1, responder=NONE)
MAIN_ANSWER = ike(SA_1, 1, 2, version=1)
AGGRESSIVE = ike(SA_1, 1, 4, version=1, responder=NONE)
AGGRESSIVE_ANSWER = ike(SA_1, 1, 4, version=1)


def padded(message: bytes, padding: bytes) -> bytes:
    """A message that says in its length that it is longer, as Libreswan's do."""
    size = (len(message) + len(padding)).to_bytes(4)
    return message[:24] + size + message[28:] + padding


def fragments(message: bytes, *sizes: int, exchange: int = 4) -> list[bytes]:
    """A message in a vendor's fragments: the first of them of `sizes`, and the rest."""
    ends = [*accumulate(sizes), len(message)]
    parts = [message[a:b] for a, b in pairwise([0, *ends])]
    return [
        ike(
            payload(0, pack(">HBB", 1, number, number == len(parts)) + part),
            *(132, exchange),
            version=1,
            responder=message[8:16],
        )
        for number, part in enumerate(parts, start=1)
    ]


FRAGMENTED_ANSWER = fragments(AGGRESSIVE_ANSWER, 80)[0]
KEY_EXCHANGE_1 = ike(payload(10, bytes(128)) + payload(0, bytes(20)), 4, 2, version=1)
QUICK_MODE = ike(bytes(64), 8, 32, 0x01, version=1, message_id=0xCAFE)


def on_500(message: bytes) -> Message | None:
    return read(TUNNEL, Transport.UDP, message, IKE)


def on_4500(message: bytes) -> Message | None:
    return read(TUNNEL, Transport.UDP, MARKER + message, NATT)


OPENINGS = [
    (SA_INIT, SA_INIT_ANSWER, "IKE_SA_INIT"),
    (MAIN, MAIN_ANSWER, "IKEv1 main mode"),
    (AGGRESSIVE, AGGRESSIVE_ANSWER, "IKEv1 aggressive mode"),
    (
        ike(payload(41, bytes(32)) + payload(0, bytes(8)), 40, 38, 8, responder=NONE),
        ike(payload(0, bytes(32)), 40, 38, 0x20),
        "IKE_SESSION_RESUME",
    ),
    *(
        (padded(question, bytes(size)), padded(answer, bytes(size)), name)
        for question, answer, name, size in (
            (MAIN, MAIN_ANSWER, "IKEv1 main mode", 1),
            (AGGRESSIVE, AGGRESSIVE_ANSWER, "IKEv1 aggressive mode", 3),
        )
    ),
    (AGGRESSIVE, FRAGMENTED_ANSWER, "IKEv1 aggressive mode"),
    (AGGRESSIVE, fragments(AGGRESSIVE_ANSWER)[0], "IKEv1 aggressive mode"),
    (MAIN, fragments(MAIN_ANSWER, 60, 20, exchange=2)[0], "IKEv1 main mode"),
]


@pytest.mark.parametrize(("question", "answer", "name"), OPENINGS)
@pytest.mark.parametrize("ipv6", [False, True])
@pytest.mark.parametrize(
    ("marker", "ports"),
    [
        (b"", IKE),
        (b"", (10500, 500)),
        (MARKER, NATT),
        (MARKER, (14500, 4500)),
        (b"", (4500, 500)),
        (MARKER, (500, 4500)),
    ],
)
def test_an_answer_repeats_the_initiators_spi(
    question: bytes,
    answer: bytes,
    name: str,
    marker: bytes,
    ports: tuple[int, int],
    *,
    ipv6: bool,
) -> None:
    first = read(TUNNEL, Transport.UDP, marker + question, ports, ipv6=ipv6)
    second = read(TUNNEL, Transport.UDP, marker + answer, ports, ipv6=ipv6, back=True)
    alone = name == "IKE_SA_INIT" and not marker and ports[1] == 500
    token = SPI_I + question[18:19]  # the exchange type
    assert first == Message(Role.INITIATION, f"{name} request", token, one_way=alone)
    assert second == Message(Role.RESPONSE, f"{name} response", token)


@pytest.mark.parametrize(
    "message",
    [
        IKE_AUTH,
        IKE_AUTH_ANSWER,
        ike(payload(35, pack(">HH", 1, 2) + bytes(60)), 53, 35, 0x08),  # RFC 7383
        ike(payload(0, pack(">HH", 2, 2) + bytes(60)), 53, 35, 0x08),
        ike(payload(0, bytes(40)), 46, 37, 0x28, message_id=7),
        ike(payload(33, bytes(40)), 46, 36, 0x00, message_id=7),
        ike(payload(34, bytes(40)), 46, 43, 0x08, message_id=1),  # IKE_INTERMEDIATE
        ike(payload(34, bytes(40)), 46, 44, 0x08, message_id=1),  # IKE_FOLLOWUP_KE
        KEY_EXCHANGE_1,
        padded(KEY_EXCHANGE_1, bytes(3)),
        *fragments(AGGRESSIVE_ANSWER, 80, 10)[1:],
        QUICK_MODE,
        ike(bytes(24), 8, 5, 0x01, version=1, message_id=1),
        ike(payload(0, bytes(21)), 132, 5, 0x01, version=1),
        ike(bytes(24), 8, 6, 0x01, version=1, message_id=1),
        ike(bytes(24), 5, 2, 0x03, version=1),
        ike(payload(0, bytes(20)), 8, 4, version=1),
        ike(payload(0, bytes(21)), 132, 2, version=1),  # a vendor's fragment
        ike(payload(0, bytes(21)), 132, 2, 0x01, version=1),
    ],
)
def test_past_the_opening_a_message_names_both_spis(message: bytes) -> None:
    for read_on in (on_500, on_4500):
        seen = read_on(message)
        assert seen is not None
        assert (seen.role, seen.token[:16]) == (Role.EXCHANGE, BOTH)


def exchange(kind: int, flags: int, message_id: int) -> bytes:
    seen = on_4500(ike(payload(0, bytes(40)), 46, kind, flags, message_id=message_id))
    assert seen is not None
    return seen.token


def test_request_and_response_name_one_exchange() -> None:
    asked, asked_back = exchange(37, 0x08, 7), exchange(37, 0x00, 7)
    assert exchange(37, 0x20, 7) == asked
    assert exchange(37, 0x28, 7) == asked_back
    others = {exchange(37, 0x20, 8), exchange(36, 0x20, 7), asked, asked_back}
    assert len(others) == 4


REFUSAL = ike(payload(0, b"\0\0\0\x0e"), 41, 34, 0x20, responder=NONE)
COOKIE = payload(33, b"\0\0\x40\x06" + bytes(20))


def test_a_request_for_a_cookie_confirms_nothing_and_the_retry_opens() -> None:
    asked = ike(payload(0, b"\0\0\x40\x06" + bytes(20)), 41, 34, 0x20, responder=NONE)
    again = ike(COOKIE + SA_KE_NONCE, 41, 34, 0x08, responder=NONE)
    assert on_500(asked) is None
    seen = on_500(again)
    assert seen is not None
    assert (seen.role, seen.token) == (Role.INITIATION, SPI_I + b"\x22")


@pytest.mark.parametrize(
    "message",
    [
        REFUSAL,
        ike(SA_KE_NONCE, 33, 34, 0x08),  # a request that knows the responder
        ike(SA_KE_NONCE, 33, 34, 0x28),  # a response from the initiator
        ike(SA_KE_NONCE, 33, 34, 0x18, responder=NONE),  # version bit, to be cleared
        ike(SA_KE_NONCE, 33, 34, 0x08, responder=NONE, message_id=1),
        ike(payload(0, bytes(32)), 40, 34, 0x08, responder=NONE),  # no SA
        ike(payload(0, bytes(32)), 41, 38, 0x08, responder=NONE),  # no nonce
        ike(b"", 0, 34, 0x20),
        ike(payload(0, bytes(32)), 200, 34, 0x20),  # no SA
        ike(payload(0, b"\0\0\0\x0e"), 41, 34, 0x20),  # NO_PROPOSAL_CHOSEN
        ike(payload(0, b"\0\0\0\x11\0\x13"), 41, 34, 0x20),  # INVALID_KE_PAYLOAD
        ike(payload(0, b"\0\0\x40\x06" + bytes(20)), 41, 34, 0x20),  # COOKIE
        ike(payload(0, b"\0\0\x40\x17" + bytes(40)), 41, 34, 0x20),  # REDIRECT
        ike(payload(0, bytes(32)), 41, 38, 0x20),  # no nonce
        ike(payload(0, bytes(20)), 11, 5, version=1),  # a notification in clear
        ike(payload(0, bytes(20)), 12, 5, version=1),
        ike(payload(11, bytes(20)) + payload(0, bytes(20)), 8, 5, version=1),
        ike(payload(13, bytes(20)) + payload(0, bytes(20)), 11, 2, version=1),
        ike(payload(0, bytes(21)), 132, 5, version=1),
        ike(bytes(64), 8, 32, version=1, message_id=1),
        ike(b"", 0, 2, version=1),
        ike(SA_KE_NONCE + b"\0", 33, 34, 0x08, responder=NONE),
        ike(SA_KE_NONCE[:-1], 33, 34, 0x08, responder=NONE),
        ike(payload(0, bytes(8), flags=0x01), 33, 34, 0x08, responder=NONE),
        ike(payload(34, bytes(8)) + b"\0\0\0\x03", 33, 34, 0x08, responder=NONE),
        ike(payload(34, bytes(8)) + b"\0\0\0", 33, 34, 0x08, responder=NONE),
        ike(SA_KE_NONCE, 33, 35, 0x08),  # in clear what has to be sealed
        ike(payload(0, bytes(16)) + payload(0, bytes(16)), 46, 35, 0x08),
        ike(payload(0, pack(">HH", 0, 2) + bytes(16)), 53, 35, 0x08),
        ike(payload(0, pack(">HH", 3, 2) + bytes(16)), 53, 35, 0x08),
        ike(payload(0, bytes(16)), 46, 35, 0x08, responder=NONE),
        ike(payload(0, bytes(16)), 46, 35, 0x48),
        ike(payload(0, bytes(16)), 46, 45, 0x08),  # not assigned
        ike(SA_KE_NONCE, 33, 34, 0x08, version=3, responder=NONE),
        ike(SA_1, 1, 3, version=1, responder=NONE),
        ike(SA_1, 1, 2, 0x08, version=1, responder=NONE),
        ike(SA_1, 1, 2, 0x04, version=1, responder=NONE),
        ike(SA_1, 1, 2, version=1, responder=NONE, message_id=1),
        ike(payload(0, pack(">II", 2, 1) + bytes(40)), 1, 2, version=1, responder=NONE),
        ike(payload(0, bytes(20), flags=0x80), 4, 2, version=1),
        ike(payload(0, bytes(20)), 4, 2, version=1, responder=NONE),
        ike(bytes(60), 8, 32, 0x01, version=1, message_id=1),  # no whole blocks
        ike(b"", 8, 32, 0x01, version=1, message_id=1),
        ike(payload(0, bytes(21)) + b"\0", 132, 2, 0x01, version=1),
        ike(bytes(64), 8, 32, 0x01, version=1, responder=NONE, message_id=1),
        ike(SA_1, 1, 34, version=1, responder=NONE),
        padded(MAIN, bytes(4)),
        padded(MAIN, b"\0\1"),
        padded(MAIN_ANSWER, b"\1"),
        padded(SA_INIT, b"\0"),
        padded(SA_INIT_ANSWER, bytes(3)),
        padded(IKE_AUTH, b"\0"),
        padded(ike(payload(0, bytes(20)), 11, 2, version=1), bytes(2)),
        padded(ike(b"", 0, 2, version=1), bytes(3)),
        MAIN + b"\0",
        SA_INIT + b"\0",
        SA_INIT[:-1],
        SA_INIT[:27],
        NONE + SA_INIT[8:],
        b"",
    ],
)
def test_what_breaks_the_specification_is_none(message: bytes) -> None:
    assert on_500(message) is None
    assert on_4500(message) is None


# Payload, version, exchange, flags, message id, length.
@pytest.mark.parametrize("at", range(16, 28))
@pytest.mark.parametrize("message", [SA_INIT, SA_INIT_ANSWER, MAIN, AGGRESSIVE_ANSWER])
def test_no_fixed_byte_of_an_opening_may_differ(message: bytes, at: int) -> None:
    seen = on_500(flipped(message, at))
    assert seen is None or seen.role is Role.EXCHANGE


def test_the_marker_belongs_to_one_port_only() -> None:
    assert read(TUNNEL, Transport.UDP, SA_INIT, NATT) is None
    assert read(TUNNEL, Transport.UDP, MARKER + SA_INIT, IKE) is None
    assert read(TUNNEL, Transport.UDP, SA_INIT, (49152, 501)) is None
    assert read(TUNNEL, Transport.TCP, SA_INIT, IKE) is None


def layered(layers: Layer) -> bytes:
    return bytes(layers)


def test_scapy_builds_what_is_read() -> None:
    transforms = IKEv2_Transform(next_payload=3) / IKEv2_Transform(next_payload=0)
    message = layered(
        IKEv2(init_SPI=SPI_I, exch_type="IKE_SA_INIT", flags="Initiator")
        / IKEv2_SA(prop=IKEv2_Proposal(trans_nb=2, trans=transforms))
        / IKEv2_KE(ke=bytes(32))
        / IKEv2_Nonce(nonce=bytes(32))
        / IKEv2_Notify(type="NAT_DETECTION_SOURCE_IP", notify=bytes(20))
    )
    assert on_500(message) == Message(
        Role.INITIATION, "IKE_SA_INIT request", SPI_I + b"\x22", one_way=True
    )
    sealed = layered(
        IKEv2(
            init_SPI=SPI_I,
            resp_SPI=SPI_R,
            exch_type="IKE_AUTH",
            flags="Initiator",
            id=1,
        )
        / IKEv2_Encrypted(load=bytes(64))
    )
    token = BOTH + bytes((35, 0, 0, 0, 1, True))
    assert on_4500(sealed) == Message(
        Role.EXCHANGE, "IKEv2 exchange", token, answers=False
    )
    first = layered(
        ISAKMP(init_cookie=SPI_I, exch_type=2)
        / ISAKMP_payload_SA(prop=ISAKMP_payload_Proposal())
        / ISAKMP_payload_VendorID(VendorID=bytes(16))
    )
    assert on_500(first) == Message(
        Role.INITIATION, "IKEv1 main mode request", SPI_I + b"\x02"
    )


def test_scapy_sees_the_same_in_what_is_crafted() -> None:
    seen = IKEv2(SA_INIT)
    assert (seen.init_SPI, seen.resp_SPI, seen.length) == (SPI_I, NONE, len(SA_INIT))
    assert seen.haslayer(IKEv2_SA)
    assert seen.haslayer(IKEv2_KE)
    assert seen.haslayer(IKEv2_Nonce)


@pytest.mark.parametrize(
    "message",
    [SA_INIT, MAIN, padded(MAIN, bytes(3)), IKE_AUTH, KEY_EXCHANGE_1, QUICK_MODE],
)
def test_of_a_cut_message_what_is_there_is_checked(message: bytes) -> None:
    whole = packet(Transport.UDP, message, IKE)
    expected = unsure(TUNNEL.read(whole))
    assert expected is not None
    for size in range(len(message)):
        seen = TUNNEL.read(cut(whole, size))
        assert seen in (None, expected)
        # The header and what fixes the domain of interpretation.
        assert (seen is None) or size >= 28
        assert (seen is not None) or size < 36


def chain(count: int) -> bytes:
    """A request with that many payloads."""
    rest = b"".join(payload(43, b"") for _ in range(count - 2)) + payload(0, b"")
    return ike(payload(43, bytes(40)) + rest, 33, 34, 0x08, responder=NONE)


def test_a_message_has_a_most_of_payloads() -> None:
    """Real peers send up to 13."""
    assert on_500(chain(32)) is not None
    assert on_500(chain(33)) is None
    whole = packet(Transport.UDP, chain(40), IKE)
    assert TUNNEL.read(cut(whole, whole.length - 1)) is None


@pytest.mark.parametrize("ports", [IKE, (10500, 500), NATT, (14500, 4500)])
def test_a_key_exchange_covers_its_flow_ike_and_esp(ports: tuple[int, int]) -> None:
    client, server = ends(Transport.UDP, ports)
    flow = FlowKey.of(Transport.UDP, client, server)
    covered = TUNNEL.covers(flow)
    bare = [Endpoint(end.address, 0) for end in (client, server)]
    well_known = [Endpoint(end.address, 500) for end in (client, server)]
    assert covered[0] == flow
    assert set(covered) == {
        flow,
        FlowKey.of(Transport.UDP, *well_known),
        FlowKey.of(Transport.ESP, *bare),
    }
    assert len(covered) == (2 if ports == IKE else 3)
