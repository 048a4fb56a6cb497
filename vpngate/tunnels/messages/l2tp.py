# SPDX-License-Identifier: GPL-2.0-or-later
"""L2TP's control messages as scapy classes, and by them: the second reader.

Specification: RFC 2661 sections 3.1 and 4.1, RFC 3931 sections 3.2.1 and 5.1, versions
2 and 3 over UDP. scapy knows data messages alone, so the classes are ours. Of a cut
message the AVPs that are there have to do.
"""

# scapy is untyped: a class of it is Any to mypy.
# mypy: disable-error-code="misc"
# ruff: noqa: RUF012 — fields_desc is what scapy's metaclass builds a class from.

from typing import NamedTuple

from scapy.fields import (
    BitField,
    ConditionalField,
    IntField,
    ShortEnumField,
    ShortField,
    XStrLenField,
)
from scapy.packet import Packet as Scapy

from vpngate.packets import Packet, Transport
from vpngate.recognition import Dissection, Message, Role
from vpngate.tunnels.messages.layers import Fields, Layer, holds, laid_over, shown

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


class AVP(Scapy):
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


class Header(Scapy):
    """What a control message begins with; `version` says what names the receiver."""

    name = "L2TP control header"
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
    ]


_SERVER_PORT = 1701
_MOST_AVPS = 32  # our own limit

_HEADER: Fields = {
    "control": 1,
    "has_length": 1,
    "has_sequence": 1,
    "reserved_2": 0,
    "reserved_5": 0,
    "has_offset": 0,
    "priority": 0,
    "reserved_8": 0,
    "version": (2, 3),
}


class _Opening(NamedTuple):
    """A message that opens a connection.

    header      numbers that nothing came before
    introduces  whether the sender names itself and assigns its end's id
    answers     whether it is addressed to the id that the other end assigned
    """

    name: str
    header: Fields
    introduces: bool
    answers: bool


_OPENINGS = {
    b"\0\x01": _Opening(
        "start-control-connection-request", {"ns": 0, "nr": 0}, True, False
    ),
    b"\0\x02": _Opening(
        "start-control-connection-reply", {"ns": 0, "nr": 1}, True, True
    ),
    b"\0\x03": _Opening(
        "start-control-connection-connected", {"ns": 1, "nr": 1}, False, True
    ),
}


def read(packet: Packet) -> Dissection | None:
    """The control message in a packet, header and AVP by AVP."""
    if packet.transport is not Transport.UDP:
        return None
    found = laid_over(Header, packet.payload)
    if found is None:
        return None
    header, body = found
    if not holds(header, {**_HEADER, "length": packet.length}):
        return Dissection(shown([header]), None)
    layers = [header]
    attributes = _attributes(layers, body, packet)
    return Dissection(shown(layers), _message(layers, attributes, packet))


def _attributes(layers: list[Layer], body: bytes, packet: Packet) -> dict[int, Layer]:
    """The IETF's AVPs by number, the first of each; each one is added to `layers`.

    None of them if they break a rule, or do not fill the message.
    """
    attributes: dict[int, Layer] = {}
    left = packet.length - (len(packet.payload) - len(body))
    cut = len(body) < left
    while left:
        found = laid_over(AVP, body)
        if found is None:
            break
        avp, behind = found
        size = avp.fields["length"]
        if not AVP_HEADER <= size <= left or not holds(avp, {"reserved": 0}):
            return {}
        if len(layers) > _MOST_AVPS:
            return {}
        if size > len(body):
            break
        layers.append(avp)
        if avp.fields["vendor"] == 0:
            attributes.setdefault(avp.fields["attribute"], avp)
        body, left = behind, left - size
    return attributes if cut or not left else {}


def _message(
    layers: list[Layer], avps: dict[int, Layer], packet: Packet
) -> Message | None:
    """What header and AVPs amount to."""
    if not avps:
        return None
    header, first = layers[:2]
    if not holds(first, {"vendor": 0, "attribute": 0, "hidden": 0}):
        return None
    opening = _OPENINGS.get(first.fields["value"])
    if opening is None or not holds(header, opening.header):
        return None
    version_2 = header.fields["version"] == VERSION_2
    receiver = header.fields["tunnel_id" if version_2 else "connection_id"]
    session = header.fields.get("session_id", 0)
    assigned = avps.get(9 if version_2 else 61)
    if session != 0 or (receiver != 0) != opening.answers:
        return None
    whole = len(packet.payload) == packet.length
    if opening.introduces and not _introduces(avps, assigned, version_2, whole):
        return None
    own = _value(assigned).rjust(4, b"\0") if _value(assigned) else b""
    return _on_its_way(packet, opening, own, receiver.to_bytes(4))


def _on_its_way(
    packet: Packet, opening: _Opening, own: bytes, receiver: bytes
) -> Message | None:
    """The message that an opening is between its ports.

    A server may answer from a port of its choice: there its reply comes first, and the
    initiator's next message answers.
    """
    to_server = packet.destination.port == _SERVER_PORT
    from_server = packet.source.port == _SERVER_PORT
    addressed = Message(Role.RESPONSE, opening.name, receiver)
    assigning = Message(Role.INITIATION, opening.name, own)
    if not opening.answers:
        alone = len(packet.payload) == packet.length
        return assigning._replace(one_way=alone) if to_server else None
    if opening.introduces:
        return addressed if from_server else assigning
    return None if to_server else addressed


def _introduces(
    avps: dict[int, Layer],
    assigned: Layer | None,
    version_2: bool,  # noqa: FBT001
    whole: bool,  # noqa: FBT001
) -> bool:
    """Whether the sender says who it is: what it has to, in a form that makes sense."""
    protocol, host = avps.get(2), avps.get(7)
    if whole and None in (
        (protocol, host, assigned) if version_2 else (host, assigned)
    ):
        return False
    if host is not None and not host.fields["hidden"] and not host.fields["value"]:
        return False
    if _value(protocol) not in (b"", b"\x01\0"):
        return False
    if protocol is not None and not protocol.fields["hidden"] and not _value(protocol):
        return False
    if assigned is None or assigned.fields["hidden"]:
        return True
    number = _value(assigned)
    return len(number) == (2 if version_2 else 4) and any(number)


def _value(avp: Layer | None) -> bytes:
    """The value of an AVP; empty if it is hidden, or not there."""
    return b"" if avp is None or avp.fields["hidden"] else bytes(avp.fields["value"])
