# SPDX-License-Identifier: GPL-2.0-or-later
"""PPTP (RFC 2637): its control connection and the enhanced GRE beside it.

Knows how a control connection opens (sections 2.1 and 2.2) and the GRE header of
section 4.1, which tells its packets from every other GRE. Does not follow calls,
and does not put TCP segments together: both messages fit any segment.

What scapy's classes make of the same packets is in `vpngate.tunnels.messages.pptp`.
"""

from struct import Struct

from vpngate.packets import Endpoint, FlowKey, Packet, Transport
from vpngate.recognition import Carrier, Message, Role, SecondReader, Tunnel
from vpngate.signatures import Field, Shape, Signature

_PORT = 1723  # section 2: the listening end of the control connection

# A control message's header (section 1.4): length, message type, magic cookie,
# control message type, reserved.
_HEADER = Struct(">HHIHH")
_CONTROL_MESSAGE = 1
_MAGIC = 0x1A2B3C4D
_CONTROL_TYPES = range(1, 16)  # 1 SCCRQ to 15 Set-Link-Info
_SCCRQ, _SCCRP = 1, 2
_LENGTH = 156  # bytes; the same for request and reply

# What follows it in both: protocol version; reserved in a request, result and error
# code in a reply; framing and bearer capabilities; channels and firmware (not fixed).
# Two names of 64 bytes end the message.
_OPENING = Struct(">HBBII")
_VERSION = 0x0100  # 1.0
_CAPABILITIES = 0x3  # two bits are defined for framing, and two for bearer
_SUCCESS = (1, 0)  # result and error code; every other result is a refusal

# Enhanced GRE (section 4.1): flags and version, protocol type, payload length, call
# id. Key present, no checksum, routing, strict source route or recursion.
_GRE = Struct(">BBHHH")
_KEY, _SEQUENCE, _ACKNOWLEDGMENT = 0x20, 0x10, 0x80
_GRE_VERSION = 1
_PPP = 0x880B
# Version 1 and PPP, whatever the flags: what tells PPTP's GRE from every other.
_ENHANCED_GRE = Field(0, b"\x00\x01\x88\x0b", b"\x00\x07\xff\xff")
_NUMBER = 4  # bytes of a sequence or acknowledgment number


def _opening(control_type: int, *codes: int) -> Shape:
    """One of the two messages that open a connection, up to its capabilities."""
    fixed = _HEADER.pack(_LENGTH, _CONTROL_MESSAGE, _MAGIC, control_type, 0)
    fixed += _VERSION.to_bytes(2) + bytes(codes)
    mask = (0xFFFFFFFF ^ _CAPABILITIES).to_bytes(4) * 2
    return Shape((Field(0, fixed), Field(len(fixed), bytes(len(mask)), mask)))


_SIGNATURES = (
    Signature(
        "pptp_control",
        Transport.TCP,
        (_opening(_SCCRQ, 0, 0), _opening(_SCCRP, *_SUCCESS)),
        ports=frozenset({_PORT}),
        opens=True,
    ),
    Signature(
        "pptp_gre",
        Transport.GRE,
        # One of the two flags is always set, so there are three shapes.
        tuple(
            Shape((Field(0, bytes((_KEY | s, a | _GRE_VERSION)) + _PPP.to_bytes(2)),))
            for s, a in (
                (_SEQUENCE, 0),
                (0, _ACKNOWLEDGMENT),
                (_SEQUENCE, _ACKNOWLEDGMENT),
            )
        ),
        sampled=True,
    ),
)


def _read(packet: Packet) -> Message | None:
    """The message that a packet of a control connection, or of GRE, is."""
    if packet.transport is Transport.GRE:
        return _read_gre(packet.payload, packet.length)
    if packet.transport is Transport.TCP:
        return _read_control(packet)
    return None


def _read_control(packet: Packet) -> Message | None:
    """A Start-Control-Connection-Request or -Reply, alone or first in its segment."""
    payload = packet.payload
    if packet.length < _LENGTH or len(payload) < _HEADER.size + _OPENING.size:
        return None
    length, message_type, magic, control_type, reserved = _HEADER.unpack_from(payload)
    opening = _OPENING.unpack_from(payload, _HEADER.size)
    version, result, error, framing, bearer = opening
    fixed = (length, message_type, magic, reserved, version)
    if fixed != (_LENGTH, _CONTROL_MESSAGE, _MAGIC, 0, _VERSION):
        return None
    if (framing | bearer) & ~_CAPABILITIES or not _continues(payload):
        return None
    to_port, from_port = packet.destination.port == _PORT, packet.source.port == _PORT
    if control_type == _SCCRQ and to_port and not (result or error):
        name = "start-control-connection-request"
        return Message(Role.INITIATION, name, one_way=not packet.truncated)
    if control_type == _SCCRP and from_port and (result, error) == _SUCCESS:
        return Message(Role.RESPONSE, "start-control-connection-reply")
    return None


def _continues(payload: bytes) -> bool:
    """Whether the next message in the segment, if there is one, is PPTP's too."""
    if len(payload) < _LENGTH + _HEADER.size:
        return True
    _, message_type, magic, control_type, _ = _HEADER.unpack_from(payload, _LENGTH)
    return (
        message_type == _CONTROL_MESSAGE
        and magic == _MAGIC
        and control_type in _CONTROL_TYPES
    )


def _read_gre(payload: bytes, length: int) -> Message | None:
    """A packet of enhanced GRE: nothing else uses version 1 with this protocol type.

    A packet carries data and its sequence number, an acknowledgment, or both; the
    payload length leaves the header out.
    """
    if len(payload) < _GRE.size:
        return None
    flags, version, protocol, data, _ = _GRE.unpack_from(payload)
    sequence, acknowledgment = flags & _SEQUENCE, version & _ACKNOWLEDGMENT
    if flags & ~_SEQUENCE != _KEY or version & ~_ACKNOWLEDGMENT != _GRE_VERSION:
        return None
    if protocol != _PPP or bool(data) != bool(sequence):
        return None
    if not sequence and not acknowledgment:
        return None
    header = _GRE.size + _NUMBER * (bool(sequence) + bool(acknowledgment))
    if header + data != length:
        return None
    return Message(Role.EXCHANGE, "enhanced GRE")


def _covers(flow: FlowKey) -> tuple[FlowKey, ...]:
    """A control connection covers the enhanced GRE between its ends (section 4)."""
    if flow.transport is Transport.GRE:
        return (flow,)
    low, high = (Endpoint(end.address, 0) for end in (flow.low, flow.high))
    return (flow, FlowKey.of(Transport.GRE, low, high))


def _second() -> SecondReader:
    from vpngate.tunnels.messages import pptp  # noqa: PLC0415 - scapy comes with it

    return pptp.read


TUNNEL = Tunnel(
    name="pptp",
    signatures=_SIGNATURES,
    read=_read,
    covers=_covers,
    carriers=(Carrier(Transport.TCP), Carrier(Transport.GRE, (_ENHANCED_GRE,))),
    idle=600,  # a control connection is silent for 60 s between its echo requests
    second=_second,
)
