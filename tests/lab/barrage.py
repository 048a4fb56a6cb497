# SPDX-License-Identifier: GPL-2.0-or-later
"""A program that sends one kind of WireGuard message, fast or without a gap.

Knows how to make frames and to send hundreds of them at once, and that it must end by
itself; does not know who sees them. Run it inside a namespace of the lab:

    python -m tests.lab.barrage HOW DEVICE OWN_MAC NEXT_HOP SOURCE TARGET KIND SECONDS

HOW is `fast`, as fast as the machine can, or `steady`, a frame each tenth of a
millisecond whatever else wants to run: a limit then never has time to recover. SOURCE
and TARGET are an address, or a network: then each frame has another one of it. It
prints how many frames went out; SIGTERM ends it before its time.
"""

import ctypes
import ipaddress
import os
import random
import signal
import socket
import struct
import sys
import time

_LONGEST = 60.0  # seconds, whatever is asked for
_FRAMES = 8192  # different ones, sent again and again
_AT_ONCE = {"fast": 512, "steady": 1}
_PAUSE = 1e-4  # seconds
_LENGTHS = {1: 148, 2: 92}  # bytes of a message (WireGuard, 5.4.2 and 5.4.3)
_SOL_PACKET, _QDISC_BYPASS = 263, 20
_DONT_WAIT = 0x40


class _Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vectors", ctypes.POINTER(_Vector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("sent", ctypes.c_uint),
    )


def _checksum(header: bytes) -> int:
    """Of a header that has zeros where it goes (RFC 1071)."""
    total = int.from_bytes(header, "big") % 0xFFFF
    return 0xFFFF - total


def _address(choice: random.Random, network: str) -> bytes:
    net = ipaddress.ip_network(network, strict=False)
    number = int(net.network_address) + choice.randrange(net.num_addresses)
    return number.to_bytes(net.max_prefixlen // 8, "big")


def _frame(choice: random.Random, macs: bytes, ends: list[str], kind: int) -> bytes:
    """An Ethernet frame without a checksum of UDP, which nobody on the way asks for."""
    source, target = (_address(choice, end) for end in ends)
    message = bytes([kind, 0, 0, 0]) + choice.randbytes(_LENGTHS[kind] - 4)
    length = 8 + len(message)
    ports = (1024 + choice.getrandbits(15), 51820)
    segment = struct.pack(">4H", *ports, length, 0) + message
    if len(source) == 16:
        head = struct.pack(">IHBB", 6 << 28, length, socket.IPPROTO_UDP, 64)
        return macs + b"\x86\xdd" + head + source + target + segment
    fields = (0x45, 0, 20 + length, 0, 0, 64, socket.IPPROTO_UDP)
    head = struct.pack(">BBHHHBBH", *fields, 0) + source + target
    sum_ = _checksum(head).to_bytes(2)
    return macs + b"\x08\x00" + head[:10] + sum_ + head[12:] + segment


def _messages(frames: list[bytes]) -> ctypes.Array[_Message]:
    """Headers for `sendmmsg`; they keep the frames alive."""
    messages = (_Message * len(frames))()
    for message, frame in zip(messages, frames, strict=True):
        body = ctypes.create_string_buffer(frame, len(frame))
        vector = _Vector(ctypes.cast(body, ctypes.c_void_p), len(frame))
        message.vectors = ctypes.pointer(vector)
        message.vector_count = 1
    return messages


def main() -> None:
    how, device, own, next_hop, *ends, kind, seconds = sys.argv[1:]
    at_once = _AT_ONCE[how]
    macs = bytes.fromhex((next_hop + own).replace(":", ""))
    choice = random.Random(1)
    frames = [_frame(choice, macs, ends, int(kind)) for _ in range(_FRAMES)]
    messages = _messages(frames)
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    raw.setsockopt(_SOL_PACKET, _QDISC_BYPASS, 1)
    raw.bind((device, 0))
    if how == "steady":  # a tenth of a core, but when it wants it
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    going = True

    def end(*_: object) -> None:
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, end)
    send = ctypes.CDLL(None, use_errno=True).sendmmsg
    size = ctypes.sizeof(_Message)
    print("sending", flush=True)  # noqa: T201 - a program
    begin, sent, at = time.monotonic(), 0, 0
    while going and time.monotonic() - begin < min(float(seconds), _LONGEST):
        part = ctypes.byref(messages, at * size)
        sent += max(0, send(raw.fileno(), part, at_once, _DONT_WAIT))
        at = (at + at_once) % _FRAMES
        if how == "steady":
            time.sleep(_PAUSE)
    print(sent, round(time.monotonic() - begin, 2))  # noqa: T201 - a program


if __name__ == "__main__":
    main()
