# SPDX-License-Identifier: GPL-2.0-or-later
"""Ordinary traffic as frames: what a gateway forwards all day, and no tunnel.

Knows headers; does not know who sends them, nor what is made of them.
"""

import struct
from collections.abc import Callable, Iterable
from random import Random

from vpngate.packets import Transport

SEED = 3
FRAMES = 4096

_SMALLEST = 60  # bytes of an Ethernet frame, without its checksum
_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
# Frame sizes of a mix and how often: IMIX (RFC 6985 gives it a name), large ones as
# large as they are.
_SIZES = (60, 576, 1500)
_WEIGHTS = (7, 4, 3)

Make = Callable[[Random, "Port"], bytes]


class Port:
    """Where frames go: the gateway's and the subscriber's link address and network."""

    def __init__(self, gateway: bytes, subscriber: bytes, number: int) -> None:
        self.link = gateway + subscriber
        self.number = number
        self.network = bytes((10, 1, number))
        self.network6 = bytes.fromhex("fd00000000010000")[:7] + bytes([number])


def frames(make: Make, port: Port) -> bytes:
    """The frames of a kind, each behind its length: as the sender reads them."""
    random = Random(f"{SEED} {port.network[2]}")
    made = (make(random, port) for _ in range(FRAMES))
    return b"".join(struct.pack("<H", len(frame)) + frame for frame in made)


def udp(random: Random, port: Port) -> bytes:
    """The smallest datagrams, from any port to any port."""
    return _packet(random, port, _datagram(random, random.randbytes(18)))


def tcp(random: Random, port: Port) -> bytes:
    """The smallest segments, half of them with timestamps, of TLS to port 443."""
    return _packet(random, port, _segment(random, b"\x17\x03\x03\0\x10\0"))


def quic(random: Random, port: Port) -> bytes:
    """Packets with short headers (RFC 9000, section 17.3.1), 1,200 bytes each."""
    payload = bytes([0x40 | random.randrange(64)]) + random.randbytes(1199)
    return _packet(random, port, _datagram(random, payload, 443))


def mix(random: Random, port: Port) -> bytes:
    """All of it in the sizes of a network, one in four by IPv6."""
    (size,) = random.choices(_SIZES, _WEIGHTS)
    ipv6 = random.randrange(4) == 0
    room = max(6, size - 75)  # behind the largest headers of ours, and 3 bytes
    if random.randrange(2):
        body = _segment(random, b"\x17\x03\x03" + random.randbytes(room))
    else:
        first = bytes([0x40 | random.randrange(64)])
        body = _datagram(random, first + random.randbytes(room), 443)
    return _packet(random, port, body, ipv6=ipv6)


KINDS: dict[str, Make] = {"udp": udp, "tcp": tcp, "quic": quic, "mix": mix}

_Body = tuple[Transport, bytes]


def _datagram(random: Random, payload: bytes, port: int | None = None) -> _Body:
    ends = random.randrange(1024, 65000), port or random.randrange(1024, 65000)
    header = struct.pack(">HHHH", *ends, 8 + len(payload), 0)
    return Transport.UDP, header + payload


def _segment(random: Random, payload: bytes) -> _Body:
    # Padding, and a timestamp option (RFC 7323, section 3.2).
    stamp = b"\1\1\x08\x0a" + random.randbytes(8) if random.randrange(2) else b""
    numbers = (
        random.randrange(1024, 65000),
        443,
        *struct.unpack(">II", random.randbytes(8)),
    )
    size = 20 + len(stamp)
    header = struct.pack(">HHIIHHHH", *numbers, size // 4 << 12 | 0x10, 500, 0, 0)
    return Transport.TCP, header + stamp + payload


def _packet(random: Random, port: Port, body: _Body, *, ipv6: bool = False) -> bytes:
    transport, segment = body
    if ipv6:
        source = port.network6 + random.randbytes(8)
        destination = b"\x20\x01\x0d\xb8" + random.randbytes(12)
        head = struct.pack(">IHBB", 6 << 28, len(segment), transport, 64)
        frame = port.link + _IPV6 + head + source + destination + segment
    else:
        source = port.network + bytes([random.randrange(2, 250)])
        destination = bytes([random.randrange(11, 120), *random.randbytes(3)])
        size = 20 + len(segment)
        head = struct.pack(">BBHHHBBH", 0x45, 0, size, 0, 0, 64, transport, 0)
        ends = source + destination
        head = head[:10] + _checksum(head + ends)
        frame = port.link + _IPV4 + head + ends + segment
    return frame.ljust(_SMALLEST, b"\0")


def _checksum(header: bytes) -> bytes:
    """That of IPv4 (RFC 791, section 3.1)."""
    total = _sum(struct.unpack(f">{len(header) // 2}H", header))
    return (~total & 0xFFFF).to_bytes(2, "big")


def _sum(words: Iterable[int]) -> int:
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
