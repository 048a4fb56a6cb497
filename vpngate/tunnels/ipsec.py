# SPDX-License-Identifier: GPL-2.0-or-later
"""IPsec: IKE and ESP (RFC 4303), straight over IP and through NAT (RFC 3947, 3948).

Knows the ports, the non-ESP marker and ESP's first eight bytes; what IKE looks like
behind its port is in `ike.py`. Does not know AH (RFC 4302): it is no tunnel here.

scapy describes the messages in `scapy.layers.isakmp`, `scapy.contrib.ikev2` and
`scapy.layers.ipsec` (the tests hold both together); what is checked is checked here.
"""

from dataclasses import replace
from struct import Struct

from vpngate.packets import Endpoint, FlowKey, Packet, Transport
from vpngate.recognition import Message, Role, Tunnel
from vpngate.signatures import Field, Shape, Signature
from vpngate.signatures.declaration import UDP_MAX_PAYLOAD
from vpngate.tunnels import ike

_IKE_PORT = 500  # RFC 7296 section 2
_NATT_PORT = 4500
_MARKER = bytes(4)  # RFC 3948 section 2.2: zero where ESP has its SPI

# SPI and sequence number (RFC 4303 section 2.1, 2.2), then at least the word that
# ends in pad length and next header (2.4). SPI 0 is never sent, and 1 to 255 are
# reserved; peers keyed by hand use them all the same, and where IP itself says ESP
# there is no doubt.
_HEADER = Struct(">II")
_WORD = 4  # bytes
_ESP_MIN = _HEADER.size + _WORD
# In UDP nothing but a port says so. The thriftiest algorithms are NULL encryption and
# DES-MAC (8 bytes); ciphertext and integrity check value fill whole words.
_IN_UDP_SPI_MIN = 256
_IN_UDP_MIN = _ESP_MIN + 8

# First bytes of other protocols that pass for an SPI, and what may follow them for a
# sequence number.
_LOOK_ALIKES = (
    Field(0, bytes(4), b"\xf8\xff\xff\xff"),  # WireGuard, all types
    Field(0, b"\x48\0\0", b"\xf8\xff\xff"),  # OpenVPN, P_DATA_V2 of peers below 256
    Field(1, b"\xfe\xf0", b"\xff\xf0"),  # DTLS, version of a record (RFC 6347)
    Field(4, b"\x21\x12\xa4\x42"),  # STUN, magic cookie (RFC 8489 section 5)
)


def _marked(shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """The shapes of IKE behind the marker, which takes the first bytes."""
    marker = Field(0, _MARKER)
    return tuple(replace(shape, fields=(marker, *shape.fields)) for shape in shapes)


_SIGNATURES = (
    Signature(
        *("ike_initial", Transport.UDP, ike.initial_shapes(0)),
        frozenset({_IKE_PORT}),
        fragments=True,
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
        )
        for name, shapes in (
            ("ike_initial_natt", ike.initial_shapes(len(_MARKER))),
            ("ike_natt", ike.later_shapes(len(_MARKER))),
        )
    ),
    Signature(
        "esp",
        Transport.ESP,
        (Shape((Field(0, bytes(4), differs=True),)),),
        sampled=True,
    ),
    Signature(
        "esp_in_udp",
        Transport.UDP,
        (
            Shape(
                (Field(0, bytes(3), differs=True),),  # 256 or more
                lengths=((_IN_UDP_MIN, UDP_MAX_PAYLOAD),),
            ),
        ),
        frozenset({_NATT_PORT}),
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
    if _NATT_PORT in ports:
        if payload.startswith(_MARKER):
            return ike.read(payload[len(_MARKER) :], length - len(_MARKER))
        if _IKE_PORT not in ports:
            return _read_esp_in_udp(payload, length)
    return ike.read(payload, length) if _IKE_PORT in ports else None


def _read_esp_in_udp(payload: bytes, length: int) -> Message | None:
    """A packet of ESP on port 4500, unless it is more likely another protocol's."""
    if length < _IN_UDP_MIN or length % _WORD:
        return None
    if any(field.holds(payload) for field in _LOOK_ALIKES):
        return None
    message = _read_esp(payload)
    if message is None or int.from_bytes(message.token) < _IN_UDP_SPI_MIN:
        return None
    return message


def _read_esp(payload: bytes) -> Message | None:
    """A packet of ESP. One alone proves little: see `Role.TRAFFIC`."""
    if len(payload) < _HEADER.size:
        return None
    spi, sequence = _HEADER.unpack_from(payload)
    if not spi:
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


# Not one-way: a single packet on port 4500 is too little to go by.
TUNNEL = Tunnel(
    name="ipsec",
    signatures=_SIGNATURES,
    read=_read,
    covers=_covers,
    idle=600,  # with nothing to say, peers may stay silent for minutes
)
