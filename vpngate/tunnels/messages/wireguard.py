# SPDX-License-Identifier: GPL-2.0-or-later
"""WireGuard's handshake by scapy's classes: the second reader.

Specification: WireGuard paper, sections 5.4.2 to 5.4.7. Knows which class dissects
which type, and where the initiator's index is in it; does not know transport data. How
long a message is follows from the fields that its class declares. Of a cut message the
indices are enough.
"""

from typing import NamedTuple

from scapy.packet import Packet as Layer

from vpngate.packets import Packet, Transport
from vpngate.recognition import Dissection, Message, Role
from vpngate.tunnels.messages.layers import holds, laid_over, shown, size_of
from vpngate.tunnels.messages.left_out import without_ip


class _Datagram(Layer):  # type: ignore[misc]  # scapy is untyped
    """What scapy binds WireGuard's port to: nobody here looks for it by its port."""


with without_ip(_Datagram):
    from scapy.contrib.wireguard import (
        Wireguard,
        WireguardCookieReply,
        WireguardInitiation,
        WireguardResponse,
    )


class _Kind(NamedTuple):
    """A class, the message it describes, and the field with the initiator's index."""

    body: type[Layer]
    role: Role
    name: str
    token_in: str


_BY_TYPE = {
    1: _Kind(
        WireguardInitiation, Role.INITIATION, "handshake initiation", "sender_index"
    ),
    2: _Kind(WireguardResponse, Role.RESPONSE, "handshake response", "receiver_index"),
    3: _Kind(WireguardCookieReply, Role.RESPONSE, "cookie reply", "receiver_index"),
}
_SIZES = {
    kind.body: size_of(Wireguard) + size_of(kind.body) for kind in _BY_TYPE.values()
}


def read(packet: Packet) -> Dissection | None:
    """The handshake message in a packet, field by field."""
    found = laid_over(Wireguard, packet.payload)
    if packet.transport is not Transport.UDP or found is None:
        return None
    header, behind = found
    kind = _BY_TYPE.get(header.fields["message_type"])
    body = laid_over(kind.body, behind) if kind else None
    if kind is None or body is None:
        return Dissection(shown([header]), None)
    layers = shown([header, body[0]])
    whole = packet.length == _SIZES[kind.body] and not body[1]
    if not whole or not holds(header, {"reserved_zero": 0}):
        return Dissection(layers, None)
    # The class declares indices as little-endian numbers; a token is as on the wire.
    token = body[0].fields[kind.token_in].to_bytes(4, "little")
    return Dissection(layers, Message(kind.role, kind.name, token))
