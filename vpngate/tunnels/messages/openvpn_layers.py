# SPDX-License-Identifier: GPL-2.0-or-later
"""OpenVPN's control channel as scapy classes.

Specification: "OpenVPN Wire Protocol" (openvpn-rfc), sections 2 to 4. scapy has no
classes for it, so they are ours: one for each way a control packet is wrapped; which
message it is says its opcode. On TCP each stands behind `OverTCP`. Does not know data
packets, nor keys.
"""

# scapy is untyped: a class of it is Any to mypy.
# mypy: disable-error-code="misc"
# ruff: noqa: RUF012 — fields_desc is what scapy's metaclass builds a class from.

from functools import cache

from scapy.fields import (
    BitEnumField,
    BitField,
    ConditionalField,
    FieldLenField,
    FieldListField,
    IntField,
    LenField,
    StrFixedLenField,
    XIntField,
    XStrField,
    XStrFixedLenField,
)
from scapy.packet import Packet as Scapy
from scapy.packet import bind_layers

SESSION_ID_SIZE = 8
TAG_SIZE = 32

CLIENT_RESET_V1 = 1
SERVER_RESET_V1 = 2
CONTROL_V1 = 4
ACK_V1 = 5
CLIENT_RESET_V2 = 7
SERVER_RESET_V2 = 8
CLIENT_RESET_V3 = 10
CONTROL_WKC_V1 = 11

OPCODES = {
    CLIENT_RESET_V1: "P_CONTROL_HARD_RESET_CLIENT_V1",
    SERVER_RESET_V1: "P_CONTROL_HARD_RESET_SERVER_V1",
    3: "P_CONTROL_SOFT_RESET_V1",
    CONTROL_V1: "P_CONTROL_V1",
    ACK_V1: "P_ACK_V1",
    CLIENT_RESET_V2: "P_CONTROL_HARD_RESET_CLIENT_V2",
    SERVER_RESET_V2: "P_CONTROL_HARD_RESET_SERVER_V2",
    CLIENT_RESET_V3: "P_CONTROL_HARD_RESET_CLIENT_V3",
    CONTROL_WKC_V1: "P_CONTROL_WKC_V1",
}

_HEADER = [
    BitEnumField("opcode", CLIENT_RESET_V2, 5, OPCODES),
    BitField("key_id", 0, 3),
    XStrFixedLenField("session_id", bytes(SESSION_ID_SIZE), SESSION_ID_SIZE),
]
_REPLAY = [XIntField("replay_id", 1), IntField("time", 0)]
_RELIABILITY = [
    FieldLenField("ack_count", None, fmt="B", count_of="acks"),
    FieldListField("acks", [], IntField("", 0), count_from=lambda p: p.ack_count),
    ConditionalField(
        XStrFixedLenField("remote_session_id", bytes(SESSION_ID_SIZE), SESSION_ID_SIZE),
        lambda p: bool(p.acks),
    ),
    ConditionalField(IntField("packet_id", 0), lambda p: p.opcode != ACK_V1),
]


class OverTCP(Scapy):
    """The length that stands before each packet on TCP (section 2)."""

    name = "OpenVPN over TCP"
    fields_desc = [LenField("length", None, fmt="!H")]


class PlainControl(Scapy):
    """A control packet without wrapping (section 3.2)."""

    name = "OpenVPN control"
    fields_desc = [*_HEADER, *_RELIABILITY]


@cache
def tls_auth(hmac_size: int) -> type[Scapy]:
    """The class of control packets under tls-auth with an HMAC of that many bytes.

    The packet itself does not say which digest its ends agreed on (section 3.3).
    """

    class ControlTlsAuth(Scapy):
        """A control packet under tls-auth."""

        name = "OpenVPN control, tls-auth"
        fields_desc = [
            *_HEADER,
            StrFixedLenField("hmac", bytes(hmac_size), hmac_size),
            *_REPLAY,
            *_RELIABILITY,
        ]

    return ControlTlsAuth


class ControlTlsCrypt(Scapy):
    """A control packet under tls-crypt; everything behind the tag is encrypted.

    Under tls-crypt-v2 the wrapped client key ends P_CONTROL_HARD_RESET_CLIENT_V3 and
    P_CONTROL_WKC_V1: it is the last part of `encrypted` here, and says its own size
    in the last two bytes.
    """

    name = "OpenVPN control, tls-crypt"
    fields_desc = [
        *_HEADER,
        *_REPLAY,
        XStrFixedLenField("tag", bytes(TAG_SIZE), TAG_SIZE),
        XStrField("encrypted", b""),
    ]


bind_layers(OverTCP, PlainControl)


class Start(Scapy):
    """What every control packet begins with."""

    name = "OpenVPN"
    fields_desc = [*_HEADER]
