# SPDX-License-Identifier: GPL-2.0-or-later
"""PPTP (RFC 2637) by scapy's classes: the second reader.

Knows the two messages that open a control connection, what may follow them in their
segment, and the header of enhanced GRE. Of a cut message the names may be missing.
"""

from typing import NamedTuple

from scapy.layers.l2 import GRE_PPTP
from scapy.layers.pptp import (
    PPTP,
    PPTPStartControlConnectionReply,
    PPTPStartControlConnectionRequest,
)
from scapy.packet import Packet as Scapy

from vpngate.packets import Packet, Transport
from vpngate.recognition import Dissection, Message, Role
from vpngate.tunnels.messages.layers import (
    Fields,
    Layer,
    holds,
    laid_over,
    shown,
    size_of,
)

_LISTENS = 1723
_COMMON: Fields = {
    "type": 1,
    "magic_cookie": 0x1A2B3C4D,
    "reserved_0": 0,
    "protocol_version": 0x100,
    "framing_capabilities": range(4),
    "bearer_capabilities": range(4),
}


class _Kind(NamedTuple):
    """A class and the message it describes."""

    layer: type[Scapy]
    role: Role
    name: str
    fields: Fields


_REQUEST = _Kind(
    PPTPStartControlConnectionRequest,
    Role.INITIATION,
    "start-control-connection-request",
    {**_COMMON, "ctrl_msg_type": 1, "reserved_1": 0},
)
_REPLY = _Kind(
    PPTPStartControlConnectionReply,
    Role.RESPONSE,
    "start-control-connection-reply",
    {**_COMMON, "ctrl_msg_type": 2, "result_code": 1, "error_code": 0},
)
_SIZES = {kind.layer: size_of(kind.layer) for kind in (_REQUEST, _REPLY)}


def read(packet: Packet) -> Dissection | None:
    """The control message or the packet of enhanced GRE in a packet."""
    if packet.transport is Transport.GRE:
        return _enhanced_gre(packet)
    if packet.transport is not Transport.TCP:
        return None
    seen = None
    for listener, kind in ((packet.destination, _REQUEST), (packet.source, _REPLY)):
        if listener.port == _LISTENS:
            seen = _control(packet, kind)
            if seen is not None and seen.message is not None:
                break
    return seen


def _control(packet: Packet, kind: _Kind) -> Dissection | None:
    """A control message, alone or with others behind it in its segment."""
    found = laid_over(kind.layer, packet.payload)
    if found is None:
        return None
    layer, behind = found
    size = _SIZES[kind.layer]
    if packet.length < size or not holds(layer, {**kind.fields, "len": size}):
        return Dissection(shown([layer]), None)
    following = laid_over(PPTP, behind)
    if following is not None and not _is_another(following[0]):
        return Dissection(shown([layer]), None)
    alone = kind is _REQUEST and len(packet.payload) == packet.length
    return Dissection(shown([layer]), Message(kind.role, kind.name, one_way=alone))


def _is_another(layer: Layer) -> bool:
    """Whether what follows is a control message, too, of a type that scapy knows."""
    return holds(
        layer,
        {
            "type": 1,
            "magic_cookie": 0x1A2B3C4D,
            "ctrl_msg_type": PPTP.registered_options,
        },
    )


_ENHANCED: Fields = {
    "chksum_present": 0,
    "routing_present": 0,
    "key_present": 1,
    "strict_route_source": 0,
    "recursion_control": 0,
    "flags": 0,
    "version": 1,
    "proto": 0x880B,
}


def _enhanced_gre(packet: Packet) -> Dissection | None:
    """Enhanced GRE with data, an acknowledgment, or both (section 4.1)."""
    found = laid_over(GRE_PPTP, packet.payload)
    if found is None:
        return None
    layer, behind = found
    header = len(packet.payload) - len(behind)
    fields = layer.fields
    data, numbered = fields["payload_len"], fields["seqnum_present"] == 1
    whole = header + data == packet.length and (data > 0) == numbered
    says_something = numbered or fields["acknum_present"] == 1
    if not whole or not says_something or not holds(layer, _ENHANCED):
        return Dissection(shown([layer]), None)
    return Dissection(shown([layer]), Message(Role.EXCHANGE, "enhanced GRE"))
