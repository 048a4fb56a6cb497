# SPDX-License-Identifier: GPL-2.0-or-later
"""L2TP over UDP: version 2 (RFC 2661) and version 3 (RFC 3931).

Knows how a control connection opens: SCCRQ, SCCRP, SCCCN, and every AVP in them.
Does not know sessions, data messages, what is in a hidden AVP, or L2TPv3 straight
over IP. Where a tunnel id is hidden, or was not captured, no answer can be seen to
repeat it: such a request opens a conversation, and nothing confirms it.

What scapy's classes make of the same packets is in `vpngate.tunnels.messages.l2tp`.
"""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from vpngate.packets import FlowKey, Packet, Transport
from vpngate.recognition import Carrier, Message, Role, SecondReader, Tunnel
from vpngate.signatures import Field, Shape, Signature
from vpngate.signatures.declaration import UDP_MAX_PAYLOAD

_PORT = 1701  # RFC 2661 section 8.1, RFC 3931 section 4.1.2.1

# A control message's header: flags and version, length, the receiver's connection (in
# version 2 a tunnel and a session of 16 bits each), Ns, Nr. Type, length and sequence
# bit set, all others zero (RFC 2661 section 3.1, RFC 3931 section 3.2.1).
_HEADER = Struct(">BBHIHH")
_FLAGS = 0xC8
_VERSION_2, _VERSION_3 = 2, 3

# An AVP: flags and length, vendor, attribute (RFC 2661 section 4.1).
_AVP = Struct(">HHH")
_HIDDEN = 0x4000
_RESERVED = 0x3C00
_LENGTH_MASK = 0x03FF
_IETF = 0
_FIRST = (False, _IETF, 0)  # in clear, a message type
# Our own limit: the opening messages of real peers have 9.
_MOST_AVPS = 32

_ID_WIDTHS = {_VERSION_2: 2, _VERSION_3: 4}  # bytes of an assigned id
_TOKEN = 4  # bytes; the ids of version 2 are the smaller ones
_PROTOCOL_VERSION = b"\x01\x00"  # RFC 2661 section 4.4.2


class Attribute(IntEnum):
    """The AVPs that the opening messages have to carry, by attribute type."""

    MESSAGE_TYPE = 0
    PROTOCOL_VERSION = 2
    HOST_NAME = 7
    ASSIGNED_TUNNEL = 9
    ASSIGNED_CONNECTION = 61


_ASSIGNED = {
    _VERSION_2: Attribute.ASSIGNED_TUNNEL,
    _VERSION_3: Attribute.ASSIGNED_CONNECTION,
}
_REQUIRED = {
    _VERSION_2: {Attribute.PROTOCOL_VERSION, Attribute.HOST_NAME},
    _VERSION_3: {Attribute.HOST_NAME},
}


@dataclass(frozen=True, slots=True)
class _Step:
    """One of the three messages that open a connection, and its numbers.

    They are the first that each side sends, so Ns and Nr are known.
    """

    message_type: int
    name: str
    ns: int
    nr: int
    addressed: bool  # the header names the receiver's connection
    assigns: bool  # it carries the sender's own


_STEPS = {
    step.message_type: step
    for step in (
        _Step(1, "start-control-connection-request", 0, 0, False, True),
        _Step(2, "start-control-connection-reply", 0, 1, True, True),
        _Step(3, "start-control-connection-connected", 1, 1, True, False),
    )
}
_SCCRQ, _SCCRP, _SCCCN = _STEPS


def _shape(step: _Step, version: int) -> Shape:
    """The header and the message type, which stands first (RFC 2661 section 4.4.1)."""
    first = _AVP.pack(_AVP.size + 2, _IETF, Attribute.MESSAGE_TYPE)
    first += step.message_type.to_bytes(2)
    fields = [
        Field(0, bytes((_FLAGS, version))),
        Field(8, step.ns.to_bytes(2) + step.nr.to_bytes(2)),
        Field(_HEADER.size, first, b"\x7f" + b"\xff" * 7),  # mandatory or not
    ]
    if not step.addressed:
        fields.append(Field(4, bytes(4)))
    elif version == _VERSION_2:
        fields += [Field(4, bytes(2), differs=True), Field(6, bytes(2))]
    else:
        fields.append(Field(4, bytes(4), differs=True))
    return Shape(tuple(fields), lengths=((_HEADER.size + 8, UDP_MAX_PAYLOAD),))


def _shapes(*message_types: int) -> tuple[Shape, ...]:
    return tuple(_shape(_STEPS[t], v) for t in message_types for v in _ID_WIDTHS)


_SIGNATURES = (
    Signature(
        *("l2tp_request", Transport.UDP, _shapes(_SCCRQ), frozenset({_PORT})),
        opens=True,
    ),
    # A responder may answer from a port of its choice (RFC 2661 section 8.1).
    Signature("l2tp_reply", Transport.UDP, _shapes(_SCCRP, _SCCCN)),
)


def _read(packet: Packet) -> Message | None:
    """The message that opens a connection, or None."""
    payload = packet.payload
    if packet.transport is not Transport.UDP or len(payload) < _HEADER.size:
        return None
    flags, version, length, receiver, ns, nr = _HEADER.unpack_from(payload)
    if flags != _FLAGS or version not in _ID_WIDTHS or length != packet.length:
        return None
    if version == _VERSION_2:
        receiver, session = divmod(receiver, 1 << 16)
        if session:
            return None
    avps = _attributes(packet)
    step = _STEPS.get(int.from_bytes(avps.get(Attribute.MESSAGE_TYPE) or b""))
    if step is None or (ns, nr, receiver > 0) != (step.ns, step.nr, step.addressed):
        return None
    if step.assigns and not _introduces(avps, version, whole=not packet.truncated):
        return None
    assigned = avps.get(_ASSIGNED[version])
    own = assigned.rjust(_TOKEN, b"\0") if assigned else b""  # hidden, or cut off
    return _message(packet, step, receiver.to_bytes(_TOKEN), own)


def _message(
    packet: Packet, step: _Step, receiver: bytes, own: bytes
) -> Message | None:
    """Returns the message that a step is on its flow.

    A reply from another port than 1701 begins a new flow. There it counts as the
    opening, and the initiator's next message is its answer.
    """
    to_port = packet.destination.port == _PORT
    if step.message_type == _SCCRQ:
        if not to_port:
            return None
        whole = not packet.truncated
        return Message(Role.INITIATION, step.name, own, one_way=whole)
    if step.message_type == _SCCRP:
        if packet.source.port == _PORT:
            return Message(Role.RESPONSE, step.name, receiver)
        return Message(Role.INITIATION, step.name, own)
    return None if to_port else Message(Role.RESPONSE, step.name, receiver)


def _introduces(avps: dict[int, bytes | None], version: int, *, whole: bool) -> bool:
    """Whether the AVPs that a first message must carry are there, and make sense.

    What is hidden, or was not captured, is taken as it is: it cannot be checked.
    """
    required = _REQUIRED[version] | {_ASSIGNED[version]}
    if whole and not required <= avps.keys():
        return False
    if avps.get(Attribute.HOST_NAME) == b"":
        return False
    protocol = avps.get(Attribute.PROTOCOL_VERSION)
    if protocol is not None and protocol != _PROTOCOL_VERSION:
        return False
    assigned = avps.get(_ASSIGNED[version])
    return assigned is None or (len(assigned) == _ID_WIDTHS[version] and any(assigned))


def _attributes(packet: Packet) -> dict[int, bytes | None]:
    """The IETF's AVPs by attribute, None the value of a hidden one.

    None at all if they do not fill the message to its end, are too many, or the first
    is not a message type in clear. Of a truncated capture, those that are there whole.
    """
    avps: dict[int, bytes | None] = {}
    at, count, payload = _HEADER.size, 0, packet.payload
    while at + _AVP.size <= len(payload):
        count += 1
        word, vendor, attribute = _AVP.unpack_from(payload, at)
        end = at + (word & _LENGTH_MASK)
        if end < at + _AVP.size or end > packet.length or word & _RESERVED:
            return {}
        if count > _MOST_AVPS:
            return {}
        hidden = bool(word & _HIDDEN)
        if not avps and (hidden, vendor, attribute) != _FIRST:
            return {}
        if end > len(payload):
            break
        if vendor == _IETF:
            avps.setdefault(attribute, None if hidden else payload[at + 6 : end])
        at = end
    return avps if at == packet.length or packet.truncated else {}


def _covers(flow: FlowKey) -> tuple[FlowKey, ...]:
    """Control and data messages share one pair of ports (RFC 2661 section 8.1)."""
    return (flow,)


def _second() -> SecondReader:
    from vpngate.tunnels.messages import l2tp  # noqa: PLC0415 - scapy comes with it

    return l2tp.read


TUNNEL = Tunnel(
    name="l2tp",
    signatures=_SIGNATURES,
    read=_read,
    covers=_covers,
    carriers=(Carrier(Transport.UDP),),
    idle=600,  # an idle connection says hello every 60 s (RFC 2661 section 5.5)
    second=_second,
)
