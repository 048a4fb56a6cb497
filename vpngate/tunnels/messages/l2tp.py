# SPDX-License-Identifier: GPL-2.0-or-later
"""L2TP's control messages as scapy classes, versions 2 and 3 over UDP.

Specification: RFC 2661 sections 3.1 and 4.1, RFC 3931 sections 3.2.1 and 5.1.
Knows the header and the AVPs, with their names where a connection opens; does not
know values, nor data messages.
"""

# scapy is untyped: a class of it is Any to mypy.
# mypy: disable-error-code="misc"
# ruff: noqa: RUF012 — fields_desc is what scapy's metaclass builds a class from.

from scapy.fields import (
    BitField,
    ConditionalField,
    IntField,
    PacketListField,
    ShortEnumField,
    ShortField,
    XStrLenField,
)
from scapy.packet import Packet

AVP_HEADER = 6  # bytes
VERSION_2 = 2

ATTRIBUTES = {
    0: "Message Type",
    1: "Result Code",
    2: "Protocol Version",
    3: "Framing Capabilities",
    4: "Bearer Capabilities",
    5: "Tie Breaker",
    6: "Firmware Revision",
    7: "Host Name",
    8: "Vendor Name",
    9: "Assigned Tunnel ID",
    10: "Receive Window Size",
    11: "Challenge",
    13: "Challenge Response",
    36: "Random Vector",
    60: "Router ID",
    61: "Assigned Control Connection ID",
    62: "Pseudowire Capabilities List",
}


class AVP(Packet):
    """An attribute-value pair; of a hidden one the value is encrypted."""

    name = "L2TP AVP"
    fields_desc = [
        BitField("mandatory", 1, 1),
        BitField("hidden", 0, 1),
        BitField("reserved", 0, 4),
        BitField("length", None, 10),
        ShortField("vendor", 0),
        ShortEnumField("attribute", 0, ATTRIBUTES),
        XStrLenField("value", b"", length_from=lambda p: p.length - AVP_HEADER),
    ]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fill in the length, the low ten bits of the first two bytes."""
        if self.length is None:
            word = int.from_bytes(pkt[:2]) | len(pkt)
            pkt = word.to_bytes(2) + pkt[2:]
        return pkt + pay

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes]:
        """What follows is the next AVP, not this one's payload."""
        return b"", s


class Control(Packet):
    """A control message; `version` says what names the receiver's end."""

    name = "L2TP control"
    fields_desc = [
        BitField("control", 1, 1),
        BitField("has_length", 1, 1),
        BitField("reserved_2", 0, 2),
        BitField("has_sequence", 1, 1),
        BitField("reserved_5", 0, 1),
        BitField("has_offset", 0, 1),
        BitField("priority", 0, 1),
        BitField("reserved_8", 0, 4),
        BitField("version", VERSION_2, 4),
        ShortField("length", None),
        ConditionalField(ShortField("tunnel_id", 0), lambda p: p.version == VERSION_2),
        ConditionalField(ShortField("session_id", 0), lambda p: p.version == VERSION_2),
        ConditionalField(
            IntField("connection_id", 0), lambda p: p.version != VERSION_2
        ),
        ShortField("ns", 0),
        ShortField("nr", 0),
        PacketListField("avps", [], AVP),
    ]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fill in the length of the whole message."""
        if self.length is None:
            pkt = pkt[:2] + len(pkt).to_bytes(2) + pkt[4:]
        return pkt + pay
