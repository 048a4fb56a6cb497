# SPDX-License-Identifier: GPL-2.0-or-later
"""IPsec by scapy's classes: the second reader.

Knows ESP over IP (RFC 4303), and where IKE stands in a datagram (RFC 3948 section
2.2); the messages of IKE are in `ike.py` beside it.
"""

from scapy.layers.ipsec import ESP, NON_ESP

from vpngate.packets import Packet, Transport
from vpngate.recognition import Dissection, Message, Role
from vpngate.tunnels.messages import ike
from vpngate.tunnels.messages.layers import holds, laid_over, shown, size_of

_ISAKMP, _NAT_T = 500, 4500  # registered ports
_SPIS = range(0x100, 1 << 32)  # those below are reserved
_TRAILER = 2  # pad length and next header, at the end of whole words


def read(packet: Packet) -> Dissection | None:
    """The message of IKE, or the packet of ESP, in a packet, field by field."""
    if packet.transport is Transport.ESP:
        return _esp(packet)
    if packet.transport is not Transport.UDP:
        return None
    ports = {packet.source.port, packet.destination.port}
    marker = laid_over(NON_ESP, packet.payload) if _NAT_T in ports else None
    if marker and holds(marker[0], {"non_esp": 0}):
        layers, message = ike.read(marker[1], packet.length - size_of(NON_ESP))
        return Dissection(shown([marker[0], *layers]), message)
    if _ISAKMP not in ports:
        return None
    layers, message = ike.read(packet.payload, packet.length)
    if not layers:
        return None
    alone = (
        ike.opens_version_2(layers[0])
        and packet.destination.port == _ISAKMP
        and len(packet.payload) == packet.length
    )
    return Dissection(shown(layers), message and message._replace(one_way=alone))


def _esp(packet: Packet) -> Dissection | None:
    found = laid_over(ESP, packet.payload)
    if found is None:
        return None
    layer, _ = found
    words = (packet.length - 8) // 4  # behind SPI and sequence number
    if words * 4 < _TRAILER or not holds(layer, {"spi": _SPIS}):
        return Dissection(shown([layer]), None)
    spi, number = layer.fields["spi"], layer.fields["seq"]
    token = int(spi).to_bytes(4)
    return Dissection(
        shown([layer]), Message(Role.TRAFFIC, "ESP", token, sequence=number)
    )
