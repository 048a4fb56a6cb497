# SPDX-License-Identifier: GPL-2.0-or-later
"""A program that sends WireGuard initiations from nobody: each from another address.

Knows how to make them fast, and that it must end by itself; does not know who sees
them. Run it inside a namespace of the lab: `python -m tests.lab.flood TARGET COUNT`.
"""

import random
import socket
import struct
import sys
import time

_LONGEST = 60.0  # seconds, whatever has been sent by then
_INITIATION = 148  # bytes (WireGuard, 5.4.2)
_NET = 100 << 24 | 64 << 16  # 100.64.0.0/10, where the lab's subscribers are


def main() -> None:
    """Print how many were sent, and in how many seconds."""
    target, count = socket.inet_aton(sys.argv[1]), int(sys.argv[2])
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    where = (sys.argv[1], 0)
    # The kernel fills in the header's checksum; UDP's may be zero.
    head = struct.Struct("!BBHHHBBH4s4sHHHHB3xI")
    tail = bytes(_INITIATION - 8)
    choice = random.Random(1)
    begin = time.monotonic()
    sent = 0
    while sent < count and time.monotonic() - begin < _LONGEST:
        for _ in range(min(500, count - sent)):
            source = (_NET + choice.getrandbits(22)).to_bytes(4, "big")
            port = 1024 + choice.getrandbits(15)
            header = head.pack(
                *(0x45, 0, 28 + _INITIATION, 0, 0, 64, socket.IPPROTO_UDP, 0),
                *(source, target, port, 51820, 8 + _INITIATION, 0),
                *(1, choice.getrandbits(32)),
            )
            try:
                raw.sendto(header + tail, where)
            except OSError:  # the queue is full for a moment: that one is lost
                continue
        sent += 500
    print(sent, round(time.monotonic() - begin, 1))  # noqa: T201 - a program


if __name__ == "__main__":
    main()
