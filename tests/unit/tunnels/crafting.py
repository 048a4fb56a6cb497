# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets for the tests of IPsec, L2TP and PPTP, between a client and a server.

Knows headers from IP to transport, enough for `decode` and the prefilter; does not
know any tunnel.
"""

from struct import pack

from vpngate.packets import Endpoint, Packet, Transport, decode, parse_address
from vpngate.recognition import Message, Tunnel
from vpngate.signatures.predicate import matches

CLIENT, SERVER = "192.0.2.1", "198.51.100.2"
CLIENT_6, SERVER_6 = "2001:db8::1", "2001:db8:ffff::2"


def network(
    transport: Transport,
    payload: bytes,
    ports: tuple[int, int] = (0, 0),
    *,
    back: bool = False,
    ipv6: bool = False,
    tcp_header: int = 20,
) -> bytes:
    """A packet from its IP header on, from client to server (`ports` in that order).

    A TCP header is said to have `tcp_header` bytes, and has no less than 20.
    """
    if back:
        ports = ports[::-1]
    if transport is Transport.UDP:
        segment = pack(">HHHH", *ports, 8 + len(payload), 0) + payload
    elif transport is Transport.TCP:
        flags = tcp_header // 4 << 12 | 0x18
        segment = pack(">HHIIHHHH", *ports, 1, 1, flags, 512, 0, 0)
        segment += b"\1" * (tcp_header - 20) + payload
    else:
        segment = payload
    ends = (CLIENT_6, SERVER_6) if ipv6 else (CLIENT, SERVER)
    addresses = b"".join(map(parse_address, reversed(ends) if back else ends))
    if ipv6:
        return pack(">IHBB", 6 << 28, len(segment), transport, 64) + addresses + segment
    fixed = pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 1, 0, 64, transport, 0)
    return fixed + addresses + segment


def packet(
    transport: Transport,
    payload: bytes,
    ports: tuple[int, int] = (0, 0),
    *,
    back: bool = False,
    ipv6: bool = False,
) -> Packet:
    """The same, decoded."""
    decoded = decode(network(transport, payload, ports, back=back, ipv6=ipv6))
    assert decoded is not None
    return decoded


def read(
    tunnel: Tunnel,
    transport: Transport,
    payload: bytes,
    ports: tuple[int, int] = (0, 0),
    *,
    back: bool = False,
    ipv6: bool = False,
) -> Message | None:
    """The message in a packet; whatever is read has to pass the prefilter first."""
    raw = network(transport, payload, ports, back=back, ipv6=ipv6)
    decoded = decode(raw)
    assert decoded is not None
    message = tunnel.read(decoded)
    if message is not None:
        assert any(matches(signature, raw) for signature in tunnel.signatures)
    return message


def cut(whole: Packet, size: int) -> Packet:
    """What a capture that keeps `size` bytes of the payload holds of a packet."""
    return whole._replace(payload=whole.payload[:size])


def unsure(message: Message | None) -> Message | None:
    """The message as that of a cut packet: it is never enough alone."""
    return message._replace(one_way=False) if message else None


def ends(transport: Transport, ports: tuple[int, int]) -> tuple[Endpoint, Endpoint]:
    """Client and server of `packet`."""
    whole = packet(transport, bytes(32), ports)
    return whole.source, whole.destination


def flipped(payload: bytes, at: int, bits: int = 0xFF) -> bytes:
    """The payload with some bits of one byte turned over."""
    return payload[:at] + bytes((payload[at] ^ bits,)) + payload[at + 1 :]
