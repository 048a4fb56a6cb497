# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole conversations of IPsec, L2TP and PPTP, and the evidence that each amounts to.

Some packets are lost, late, repeated or answered from elsewhere.
"""

from dataclasses import dataclass
from struct import pack

from scapy.layers.l2 import GRE_PPTP
from scapy.layers.pptp import (
    PPTPStartControlConnectionReply,
    PPTPStartControlConnectionRequest,
)

from tests.unit.tunnels.test_ipsec import (
    AGGRESSIVE,
    COOKIE,
    FRAGMENTED_ANSWER,
    IKE_AUTH,
    IKE_AUTH_ANSWER,
    KEY_EXCHANGE_1,
    MAIN,
    MAIN_ANSWER,
    MARKER,
    NONE,
    QUICK_MODE,
    REFUSAL,
    SA_INIT,
    SA_INIT_ANSWER,
    SA_KE_NONCE,
    fragments,
    ike,
    padded,
    payload,
)
from tests.unit.tunnels.test_l2tp import (
    CONNECTED,
    HIDDEN,
    HOST,
    PROTOCOL,
    REPLY,
    REPLY_3,
    REQUEST,
    REQUEST_3,
    avp,
    control,
)
from vpngate.packets import Transport
from vpngate.recognition import Evidence

UDP, TCP, GRE, ESP = Transport.UDP, Transport.TCP, Transport.GRE, Transport.ESP
IKE, NATT, BARE = (500, 500), (14500, 4500), (0, 0)
L2TP, ELSEWHERE = (49152, 1701), (49152, 50001)
PPTP = (49152, 1723)
NOTHING, OPENED, CONFIRMED = None, Evidence.INITIATION, Evidence.CONFIRMED


@dataclass(frozen=True)
class Conversation:
    """What each end sends, in order: `>` from client to server, `<` back."""

    name: str
    transport: Transport
    ports: tuple[int, int]
    said: tuple[tuple[str, bytes], ...]
    evidence: Evidence | None


def esp(spi: int, *sequence: int) -> list[bytes]:
    return [pack(">II", spi, number) + bytes(24) for number in sequence]


def each_way(up: list[bytes], down: list[bytes]) -> tuple[tuple[str, bytes], ...]:
    return tuple((">", p) for p in up) + tuple(("<", p) for p in down)


def changed(message: bytes) -> bytes:
    """The same message with another last byte: two ends do not say the same."""
    return message[:-1] + bytes([message[-1] ^ 0xFF])


def marked(*messages: tuple[str, bytes]) -> tuple[tuple[str, bytes], ...]:
    return tuple((way, MARKER + message) for way, message in messages)


# INFORMATIONAL, empty but for its seal, as asked by each end.
SEAL = payload(0, bytes(40))
ALIVE, ALIVE_ANSWER = (ike(SEAL, 46, 37, f, message_id=7) for f in (0x08, 0x20))
ALIVE_BACK, ALIVE_BACK_ANSWER = (
    ike(SEAL, 46, 37, f, message_id=7) for f in (0x00, 0x28)
)
NO_PROPOSAL = ike(payload(0, b"\0\0\0\x0e"), 41, 34, 0x20)
REDIRECTED = ike(payload(0, b"\0\0\x40\x17" + bytes(40)), 41, 34, 0x20)
INVALID_KE_NAMED = ike(pack(">BBHI", 0, 0, 10, 17) + b"\0\x13", 41, 34, 0x20)
NOTIFIED_1 = ike(payload(0, pack(">IBBH", 1, 1, 0, 14)), 11, 5, version=1)
DELETED_1 = ike(payload(0, pack(">IBBH", 1, 1, 16, 1) + bytes(16)), 12, 5, version=1)
REFUSED_1 = ike(
    payload(13, pack(">IBBH", 1, 1, 0, 14)) + payload(0, bytes(16)), 11, 2, version=1
)
EMPTY_1 = ike(b"", 0, 2, version=1)
INVALID_KE = ike(pack(">BBHI", 0, 0, 10, 17) + b"\0\x13", 41, 34, 0x20, responder=NONE)
ASKED = ike(b"\0" + COOKIE[1:], 41, 34, 0x20, responder=NONE)
AGAIN = ike(COOKIE + SA_KE_NONCE, 41, 34, 0x08, responder=NONE)
OTHER_ANSWER = b"\x33" * 8 + SA_INIT_ANSWER[8:]
OTHER_AUTH = IKE_AUTH_ANSWER[:8] + b"\x44" * 8 + IKE_AUTH_ANSWER[16:]
KEEPALIVE = b"\xff"

SCCRQ = bytes(PPTPStartControlConnectionRequest())
SCCRP = bytes(PPTPStartControlConnectionReply())
HIDDEN_ID = control(
    1, PROTOCOL, HOST, avp(36, bytes(16)), avp(9, bytes(20), flags=HIDDEN)
)


def gre(**fields: int) -> bytes:
    data = b"\xff\x03\0\x21" if "sequence_number" in fields else b""
    return bytes(GRE_PPTP(call_id=7, **fields) / data)


DATA = [gre(seqnum_present=1, sequence_number=n) for n in range(3)]
ACKS = [gre(acknum_present=1, ack_number=n) for n in range(3)]

CONVERSATIONS = [
    Conversation("IKEv2", UDP, IKE, ((">", SA_INIT), ("<", SA_INIT_ANSWER)), CONFIRMED),
    Conversation("IKEv2 alone", UDP, IKE, ((">", SA_INIT), (">", SA_INIT)), OPENED),
    Conversation("an answer alone", UDP, IKE, (("<", SA_INIT_ANSWER),), NOTHING),
    Conversation(
        "an answer first", UDP, IKE, (("<", SA_INIT_ANSWER), (">", SA_INIT)), OPENED
    ),
    Conversation(
        "another's answer", UDP, IKE, ((">", SA_INIT), ("<", OTHER_ANSWER)), OPENED
    ),
    Conversation("an echo", UDP, IKE, ((">", SA_INIT), ("<", SA_INIT)), OPENED),
    *(
        Conversation(name, UDP, IKE, ((">", SA_INIT), ("<", answer)), OPENED)
        for name, answer in (
            ("a refusal", REFUSAL),
            ("a refusal that names the responder", NO_PROPOSAL),
            ("another group asked for, by a responder with a name", INVALID_KE_NAMED),
            ("another gateway named", REDIRECTED),
        )
    ),
    *(
        Conversation(name, UDP, IKE, ((">", MAIN), ("<", no), (">", no)), OPENED)
        for name, no in (
            ("IKEv1, a notification", NOTIFIED_1),
            ("IKEv1, a deletion", DELETED_1),
            ("IKEv1, a notification in main mode", REFUSED_1),
            ("IKEv1, nothing at all", EMPTY_1),
        )
    ),
    Conversation(
        "a cookie asked for",
        *(UDP, IKE),
        ((">", SA_INIT), ("<", ASKED), (">", AGAIN), ("<", SA_INIT_ANSWER)),
        CONFIRMED,
    ),
    Conversation(
        "another group asked for",
        *(UDP, IKE),
        ((">", SA_INIT), ("<", INVALID_KE), (">", SA_INIT), ("<", SA_INIT_ANSWER)),
        CONFIRMED,
    ),
    Conversation(
        "IKEv2 on 4500 from the start",
        *(UDP, NATT),
        marked((">", SA_INIT), ("<", SA_INIT_ANSWER)),
        CONFIRMED,
    ),
    Conversation(
        "IKEv1, padded",
        *(UDP, IKE),
        ((">", padded(MAIN, bytes(3))), ("<", padded(MAIN_ANSWER, bytes(2)))),
        CONFIRMED,
    ),
    Conversation(
        "IKEv1, an answer in fragments",
        *(UDP, IKE),
        ((">", AGGRESSIVE), ("<", FRAGMENTED_ANSWER)),
        CONFIRMED,
    ),
    Conversation(
        "IKEv1, a refusal in fragments",
        *(UDP, IKE),
        ((">", MAIN), ("<", fragments(REFUSED_1, 40, exchange=2)[0])),
        OPENED,
    ),
    Conversation(
        "IKEv1, the answer goes to the port of the first exchange",
        *(UDP, (500, 4500)),
        marked(("<", QUICK_MODE)),
        OPENED,
    ),
    Conversation(
        "IKEv1, both ends use the port of the first exchange",
        *(UDP, (500, 4500)),
        marked(("<", QUICK_MODE), (">", QUICK_MODE[:-1] + b"\7")),
        CONFIRMED,
    ),
    Conversation(
        "IKEv2 moved to 4500",
        *(UDP, NATT),
        marked((">", IKE_AUTH), (">", IKE_AUTH), ("<", IKE_AUTH_ANSWER)),
        CONFIRMED,
    ),
    Conversation(
        "IKEv2 up before the gateway was: one liveness check",
        *(UDP, NATT),
        ((">", KEEPALIVE), *marked((">", ALIVE), ("<", ALIVE_ANSWER))),
        CONFIRMED,
    ),
    Conversation(
        "IKEv2, the responder asks",
        *(UDP, NATT),
        marked(("<", ALIVE_BACK), (">", ALIVE_BACK_ANSWER)),
        CONFIRMED,
    ),
    Conversation(
        "IKEv2, two requests that cross",
        *(UDP, NATT),
        marked((">", ALIVE), ("<", ALIVE_BACK)),
        OPENED,
    ),
    Conversation(
        "IKEv2, an answer to another request",
        *(UDP, NATT),
        marked((">", ALIVE), ("<", IKE_AUTH_ANSWER)),
        OPENED,
    ),
    Conversation(
        "IKEv2 moved to 4500, unanswered",
        *(UDP, NATT),
        marked((">", IKE_AUTH), (">", IKE_AUTH)),
        OPENED,
    ),
    Conversation(
        "two halves of two exchanges",
        *(UDP, NATT),
        marked((">", IKE_AUTH), ("<", OTHER_AUTH)),
        OPENED,
    ),
    Conversation("IKEv1", UDP, IKE, ((">", MAIN), ("<", MAIN_ANSWER)), CONFIRMED),
    Conversation(
        "IKEv1 seen late",
        *(UDP, IKE),
        ((">", KEY_EXCHANGE_1), ("<", changed(KEY_EXCHANGE_1))),
        CONFIRMED,
    ),
    Conversation(
        "IKEv1 moved to 4500",
        *(UDP, NATT),
        ((">", KEEPALIVE), *marked((">", QUICK_MODE), ("<", changed(QUICK_MODE)))),
        CONFIRMED,
    ),
    Conversation(
        "ESP",
        ESP,
        BARE,
        each_way(esp(0x1001, 1, 2, 3), esp(0x2002, 8, 9, 10)),
        CONFIRMED,
    ),
    Conversation(
        "ESP, some lost, some late",
        *(ESP, BARE),
        each_way(esp(0x1001, 1, 5, 3, 6), esp(0x2002, 900, 1400, 2000)),
        CONFIRMED,
    ),
    # Only its key exchange tells it from other protocols that begin so.
    Conversation(
        "ESP in UDP",
        *(UDP, NATT),
        each_way(esp(0x1001, 1, 2, 3), [KEEPALIVE, *esp(0x2002, 900, 901)]),
        NOTHING,
    ),
    Conversation(
        "ESP under reserved SPIs",
        *(ESP, BARE),
        each_way(esp(0x65, 1, 2, 3), esp(0xFF, 1, 2, 3)),
        NOTHING,
    ),
    Conversation(
        "ESP around the end of its numbers",
        *(ESP, BARE),
        each_way(esp(0x1001, 0xFFFFFFFF, 0, 1), esp(0x2002, 0xFFFFFFF0, 4, 5)),
        CONFIRMED,
    ),
    Conversation(
        "ESP in two security associations each way",
        *(ESP, BARE),
        each_way(
            [p for n in (1, 2, 3) for spi in (0x1001, 0x1002) for p in esp(spi, n)],
            [p for n in (1, 2, 3) for spi in (0x2001, 0x2002) for p in esp(spi, n)],
        ),
        CONFIRMED,
    ),
    Conversation(
        "ESP one way", ESP, BARE, each_way(esp(0x1001, 1, 2, 3, 4), []), OPENED
    ),
    Conversation(
        "ESP, two packets back",
        ESP,
        BARE,
        each_way(esp(0x1001, 1, 2, 3), esp(2**9, 1, 2)),
        OPENED,
    ),
    Conversation(
        "ESP, one packet that does not fit",
        *(ESP, BARE),
        each_way(esp(0x1001, 1, 2, 3), esp(0x2002, 1, 2, 9 << 20, 10 << 20)),
        OPENED,
    ),
    Conversation(
        "ESP sent back as it came",
        *(ESP, BARE),
        tuple((way, p) for p in esp(0x1001, *range(9)) for way in "><"),
        OPENED,
    ),
    Conversation(
        "ESP repeated",
        ESP,
        BARE,
        each_way(esp(0x1001, 5, 5), esp(0x2002, 5, 5)),
        OPENED,
    ),
    Conversation(
        "no two packets of one SPI",
        *(ESP, BARE),
        each_way(
            [p for n in range(50) for p in esp(0x1000 + n, n)],
            [p for n in range(50) for p in esp(0x2000 + n, n)],
        ),
        OPENED,
    ),
    Conversation("L2TP", UDP, L2TP, ((">", REQUEST), ("<", REPLY)), CONFIRMED),
    Conversation("L2TPv3", UDP, L2TP, ((">", REQUEST_3), ("<", REPLY_3)), CONFIRMED),
    Conversation(
        "L2TP repeated",
        *(UDP, L2TP),
        ((">", REQUEST), (">", REQUEST), ("<", REPLY), (">", CONNECTED)),
        CONFIRMED,
    ),
    Conversation(
        "L2TP for another tunnel",
        *(UDP, L2TP),
        ((">", REQUEST), ("<", REPLY[:4] + b"\x99\x99" + REPLY[6:])),
        OPENED,
    ),
    Conversation(
        "L2TP, connected by the wrong end",
        UDP,
        L2TP,
        ((">", REQUEST), ("<", CONNECTED)),
        OPENED,
    ),
    Conversation(
        "L2TP answered from another port",
        *(UDP, ELSEWHERE),
        (("<", REPLY), (">", CONNECTED)),
        CONFIRMED,
    ),
    Conversation("L2TP not connected", UDP, ELSEWHERE, (("<", REPLY),), OPENED),
    # Nobody can tell whom the reply answers: left alone.
    Conversation(
        "L2TP with a hidden id", UDP, L2TP, ((">", HIDDEN_ID), ("<", REPLY)), OPENED
    ),
    Conversation(
        "PPTP", TCP, PPTP, ((">", SCCRQ), (">", SCCRQ), ("<", SCCRP)), CONFIRMED
    ),
    *(
        Conversation(
            f"PPTP, result {result}, error {error}",
            *(TCP, PPTP),
            (
                (">", SCCRQ),
                (
                    "<",
                    bytes(
                        PPTPStartControlConnectionReply(
                            result_code=result, error_code=error
                        )
                    ),
                ),
            ),
            OPENED,
        )
        for result, error in ((0, 0), (1, 4), (2, 0), (2, 6), (3, 0), (4, 0), (5, 0))
    ),
    Conversation("PPTP, two requests", TCP, PPTP, ((">", SCCRQ), ("<", SCCRQ)), OPENED),
    Conversation(
        "enhanced GRE, one end only acknowledges",
        *(GRE, BARE),
        each_way(DATA, ACKS),
        CONFIRMED,
    ),
    Conversation("enhanced GRE one way", GRE, BARE, each_way(DATA, []), OPENED),
]
