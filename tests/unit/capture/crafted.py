# SPDX-License-Identifier: GPL-2.0-or-later
"""Crafted captures: packets by the specifications, in files by theirs.

Knows how to lay out pcap and pcapng in either byte order; does not use the readers
under test.
"""

import struct
from collections.abc import Sequence

ETHERNET, RAW, NULL, RADIOTAP, NFLOG = 1, 101, 0, 127, 239
START = 1_700_000_000.25
OURS, THEIRS = bytes([192, 0, 2, 1]), bytes([198, 51, 100, 2])

# WireGuard paper, section 5.4: type, reserved, sender (and receiver) index, ...
INITIATION = b"\x01\0\0\0" + b"ours" + bytes(140)
RESPONSE = b"\x02\0\0\0" + b"them" + b"ours" + bytes(80)
DATA = b"\x04\0\0\0" + b"them" + bytes(88)


def udp(payload: bytes, *, back: bool = False, port: int = 40000) -> bytes:
    """An IPv4 packet between our host and WireGuard's port on theirs."""
    source, destination = (THEIRS, OURS) if back else (OURS, THEIRS)
    ports = (51820, port) if back else (port, 51820)
    size = 28 + len(payload)
    head = struct.pack(">BBHHHBBH", 0x45, 0, size, 0, 0, 64, 17, 0)
    return (
        head
        + source
        + destination
        + struct.pack(">HHHH", *ports, 8 + len(payload), 0)
        + payload
    )


def ethernet(network: bytes, tags: bytes = b"") -> bytes:
    return bytes(12) + tags + b"\x08\0" + network


def nflog(network: bytes, order: str = "=") -> bytes:
    """As libpcap copies what a rule logs: family, version, resource, then TLVs."""
    prefix = struct.pack(f"{order}HH", 8, 10) + b"log\0"
    return (
        b"\x02\0\0\x05"
        + prefix
        + struct.pack(f"{order}HH", 4 + len(network), 9)
        + network
    )


HANDSHAKE = [
    ethernet(udp(INITIATION)),
    ethernet(udp(RESPONSE, back=True)),
    ethernet(udp(DATA)),
]


def pcap(
    frames: Sequence[bytes],
    link_type: int = ETHERNET,
    order: str = "<",
    *,
    nano: bool = False,
    patched: bool = False,
) -> bytes:
    magic = 0xA1B23C4D if nano else 0xA1B2CD34 if patched else 0xA1B2C3D4
    units = 1_000_000_000 if nano else 1_000_000
    out = struct.pack(f"{order}IHHIIII", magic, 2, 4, 0, 0, 65535, link_type)
    for number, frame in enumerate(frames):
        seconds, fraction = divmod(START + number, 1)
        size = len(frame)
        out += struct.pack(
            f"{order}IIII", int(seconds), int(fraction * units), size, size
        )
        out += bytes(8) * patched + frame
    return out


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", 12 + len(body))
    return struct.pack(f"{order}I", kind) + size + body + size


def section(order: str = "<") -> bytes:
    body = struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1)
    return block(order, 0x0A0D0D0A, body)


def interface(
    link_type: int = ETHERNET,
    order: str = "<",
    *,
    snap_length: int = 0,
    options: bytes = b"",
) -> bytes:
    head = struct.pack(f"{order}HHI", link_type, 0, snap_length)
    return block(order, 1, head + options)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    padded = value + bytes(-len(value) % 4)
    return struct.pack(f"{order}HH", code, len(value)) + padded


def enhanced(
    frame: bytes, number: int = 0, ticks: int = int(START * 1e6), order: str = "<"
) -> bytes:
    head = (number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return block(order, 6, struct.pack(f"{order}IIIII", *head) + frame)


def old(frame: bytes, ticks: int = int(START * 1e6), order: str = "<") -> bytes:
    head = (0, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return block(order, 2, struct.pack(f"{order}HHIIII", *head) + frame)


def simple(frame: bytes, length: int | None = None, order: str = "<") -> bytes:
    size = len(frame) if length is None else length
    return block(order, 3, struct.pack(f"{order}I", size) + frame)


def pcapng(frames: Sequence[bytes], order: str = "<") -> bytes:
    packets = b"".join(enhanced(frame, order=order) for frame in frames)
    return section(order) + interface(order=order) + packets
