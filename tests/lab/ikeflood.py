# SPDX-License-Identifier: GPL-2.0-or-later
"""Two programs that open IKE again and again, with messages as dear as can be.

Knows how to make IKE_SA_INIT messages (RFC 7296, sections 3.1 and 3.2) that fill a
packet with as many payloads as vpngate reads; does not know who reads them. Inside
namespaces of the lab: `python -m tests.lab.ikeflood answer ADDRESS SECONDS`, and then
`... ask ADDRESS TARGET SECONDS RATE`. Both end by themselves.
"""

import socket
import struct
import sys
import time

_PORT = 500
_SIZE = 1436  # bytes, of the whole message
_MOST_PAYLOADS = 32  # what vpngate reads of a message
_HEADER = struct.Struct(">8s8sBBBBII")
_PAYLOAD = struct.Struct(">BBH")
_SA, _NOTIFY, _END = 33, 41, 0
_RESPONDER = b"\x22" * 8


def message(initiator: bytes, responder: bytes, flags: int) -> bytes:
    """An IKE_SA_INIT message: a security association, and notifications to the end."""
    room = _SIZE - _HEADER.size
    sizes = [room // _MOST_PAYLOADS] * _MOST_PAYLOADS
    sizes[0] += room - sum(sizes)
    body = b""
    for number, size in enumerate(sizes, 1):
        following = _NOTIFY if number < _MOST_PAYLOADS else _END
        body += _PAYLOAD.pack(following, 0, size) + bytes(size - _PAYLOAD.size)
    return _HEADER.pack(initiator, responder, _SA, 0x20, 34, flags, 0, _SIZE) + body


def _bound(address: str) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind((address, _PORT))
    one.settimeout(0.5)
    return one


def answer(address: str, seconds: float) -> None:
    """Answer whoever asks."""
    rest = message(bytes(8), _RESPONDER, 0x20)[8:]
    end = time.monotonic() + seconds
    with _bound(address) as one:
        while time.monotonic() < end:
            try:
                question, peer = one.recvfrom(2048)
            except TimeoutError:
                continue
            one.sendto(question[:8] + rest, peer)


def ask(address: str, target: str, seconds: float, rate: int) -> int:
    """Ask `rate` times a second; how many were asked."""
    rest = message(bytes(8), bytes(8), 0x08)[8:]
    begin = time.monotonic()
    asked = 0
    with _bound(address) as one:
        while (passed := time.monotonic() - begin) < seconds:
            while asked < passed * rate:
                asked += 1
                one.sendto(b"\x11" + asked.to_bytes(7) + rest, (target, _PORT))
            time.sleep(0.001)
    return asked


def main() -> None:
    if sys.argv[1] == "answer":
        answer(sys.argv[2], float(sys.argv[3]))
    else:
        address, target, seconds, rate = sys.argv[2:]
        print(ask(address, target, float(seconds), int(rate)))  # noqa: T201 - a program


if __name__ == "__main__":
    main()
