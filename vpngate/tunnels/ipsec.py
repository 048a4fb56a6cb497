# SPDX-License-Identifier: GPL-2.0-or-later
"""IPsec: IKE and ESP (RFC 4303), straight over IP and through NAT (RFC 3947, 3948).

Knows the ports, the non-ESP marker and ESP's first eight bytes behind IP; what IKE
looks like behind its port is in `ike.py`. Does not know AH (RFC 4302): it is no tunnel
here. On port 4500 ESP is left alone: four constant bytes and four that grow are what
many protocols begin with, and the port says nothing. The next message of IKE on such a
flow shows what it is.

What scapy's classes make of the same packets is in `vpngate.tunnels.messages.ipsec`
and `vpngate.tunnels.messages.ike`.
"""

from dataclasses import replace
from struct import Struct

from vpngate.packets import Endpoint, FlowKey, Packet, Transport
from vpngate.recognition import Carrier, Message, Role, SecondReader, Tunnel
from vpngate.signatures import Field, Shape, Signature
from vpngate.tunnels import ike

_IKE_PORT = 500  # RFC 7296 section 2
_NATT_PORT = 4500
_MARKER = bytes(4)  # RFC 3948 section 2.2: zero where ESP has its SPI

# SPI and sequence number (RFC 4303 section 2.1, 2.2), then at least the word that
# ends in pad length and next header (2.4). SPI 0 is never sent, 1 to 255 are reserved,
# and what uses them all the same (phones signalling to their carrier) is no VPN.
_HEADER = Struct(">II")
_ESP_MIN = _HEADER.size + 4
_SPI_MIN = 256


def _marked(shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """The shapes of IKE behind the marker, which takes the first bytes."""
    marker = Field(0, _MARKER)
    return tuple(replace(shape, fields=(marker, *shape.fields)) for shape in shapes)


_SIGNATURES = (
    Signature(
        *("ike_initial", Transport.UDP, ike.initial_shapes(0)),
        frozenset({_IKE_PORT}),
        fragments=True,
        opens=True,
    ),
    Signature(
        *("ike", Transport.UDP, ike.later_shapes(0)),
        frozenset({_IKE_PORT}),
        fragments=True,
    ),
    *(
        Signature(
            *(name, Transport.UDP, _marked(shapes)),
            frozenset({_NATT_PORT}),
            fragments=True,
            opens=opens,
        )
        for name, shapes, opens in (
            ("ike_initial_natt", ike.initial_shapes(len(_MARKER)), True),
            ("ike_natt", ike.later_shapes(len(_MARKER)), False),
        )
    ),
    Signature(
        "esp",
        Transport.ESP,
        (Shape((Field(0, bytes(3), differs=True),)),),  # 256 or more
        sampled=True,
    ),
)


def _read(packet: Packet) -> Message | None:
    """The message of IKE, or the packet of ESP, that a packet is."""
    payload, length = packet.payload, packet.length
    if packet.transport is Transport.ESP:
        return _read_esp(payload) if length >= _ESP_MIN else None
    if packet.transport is not Transport.UDP:
        return None
    ports = (packet.source.port, packet.destination.port)
    if _NATT_PORT in ports and payload.startswith(_MARKER):
        return ike.read(payload[len(_MARKER) :], length - len(_MARKER))
    if _IKE_PORT not in ports:
        return None
    message = ike.read(payload, length)
    if message is None or message.name != ike.SA_INIT_REQUEST:
        return message
    to_port = packet.destination.port == _IKE_PORT
    return message._replace(one_way=to_port and not packet.truncated)


def _read_esp(payload: bytes) -> Message | None:
    """A packet of ESP. One alone proves little: see `Role.TRAFFIC`."""
    if len(payload) < _HEADER.size:
        return None
    spi, sequence = _HEADER.unpack_from(payload)
    if spi < _SPI_MIN:
        return None
    return Message(Role.TRAFFIC, "ESP", spi.to_bytes(4), sequence=sequence)


def _covers(flow: FlowKey) -> tuple[FlowKey, ...]:
    """IKE covers its pair of addresses on UDP 500, on 4500 as seen, and in ESP."""
    if flow.transport is Transport.ESP:
        return (flow,)
    one, other = flow.low.address, flow.high.address
    covered = (
        flow,
        FlowKey.of(Transport.UDP, Endpoint(one, _IKE_PORT), Endpoint(other, _IKE_PORT)),
        FlowKey.of(Transport.ESP, Endpoint(one, 0), Endpoint(other, 0)),
    )
    return tuple(dict.fromkeys(covered))


def _second() -> SecondReader:
    from vpngate.tunnels.messages import ipsec  # noqa: PLC0415 - scapy comes with it

    return ipsec.read


TUNNEL = Tunnel(
    name="ipsec",
    signatures=_SIGNATURES,
    read=_read,
    covers=_covers,
    carriers=(Carrier(Transport.UDP), Carrier(Transport.ESP)),
    idle=600,  # with nothing to say, peers may stay silent for minutes
    second=_second,
)
