# SPDX-License-Identifier: GPL-2.0-or-later
"""WireGuard: its handshake on UDP, whatever the port.

Specification: WireGuard paper, sections 5.4.2 to 5.4.7 and 6.1,
https://www.wireguard.com/papers/wireguard.pdf. Knows the three messages of a
handshake; not the transport data, which shows nothing but a type and an index. A
re-handshake, by either side, looks like a first one. `mac1` cannot be checked: its
key is the responder's public key, which nobody tells us.

What scapy's classes make of the same packets is in
`vpngate.tunnels.messages.wireguard`.
"""

from typing import NamedTuple

from vpngate.packets import FlowKey, Packet, Transport
from vpngate.recognition import Carrier, Message, Role, SecondReader, Tunnel
from vpngate.signatures import Field, Shape, Signature

# What the paper fixes. Integers are little-endian; bytes 1 to 3 are reserved, zero.
_INDEX_SIZE = 4
_REJECT_AFTER_TIME = 180  # seconds; section 6.1: no session outlives it


class _Kind(NamedTuple):
    """A handshake message: its exact length, and where the initiator's index is."""

    type: int
    length: int
    index_at: int
    role: Role
    name: str

    @property
    def start(self) -> bytes:
        return bytes([self.type, 0, 0, 0])

    @property
    def signature(self) -> Signature:
        length = (self.length, self.length)
        name = "wireguard_" + self.name.removeprefix("handshake ").replace(" ", "_")
        return Signature(
            *(name, Transport.UDP, (Shape((Field(0, self.start),), (length,)),)),
            opens=self.role is Role.INITIATION,
        )


_KINDS = (
    _Kind(1, 148, 4, Role.INITIATION, "handshake initiation"),  # 5.4.2: sender index
    _Kind(2, 92, 8, Role.RESPONSE, "handshake response"),  # 5.4.3: receiver index
    _Kind(3, 64, 4, Role.RESPONSE, "cookie reply"),  # 5.4.7: receiver index
)
_BY_LENGTH = {kind.length: kind for kind in _KINDS}


def _read(packet: Packet) -> Message | None:
    kind = _BY_LENGTH.get(packet.length)
    if kind is None or not packet.payload.startswith(kind.start):
        return None
    token = packet.payload[kind.index_at : kind.index_at + _INDEX_SIZE]
    if len(token) < _INDEX_SIZE:
        return None
    return Message(kind.role, kind.name, token)


def _covers(flow: FlowKey) -> tuple[FlowKey, ...]:
    return (flow,)


def _second() -> SecondReader:
    from vpngate.tunnels.messages import wireguard  # noqa: PLC0415 - scapy comes with it

    return wireguard.read


# No message is one-way: a length and four constant bytes are a strong hint, and a game
# may give it.
TUNNEL = Tunnel(
    name="wireguard",
    signatures=tuple(kind.signature for kind in _KINDS),
    read=_read,
    covers=_covers,
    carriers=(Carrier(Transport.UDP),),
    idle=_REJECT_AFTER_TIME,
    second=_second,
)
