# SPDX-License-Identifier: GPL-2.0-or-later
"""A stream of numbered UDP datagrams: tells offered load from arrived, and each loss.

Knows sockets and a clock; does not know namespaces (`load.py` runs it in them, as a
program of its own with the standard library alone). One end connects, the other
listens, whichever of them sends: a receiver that connects says hello first, which
opens the way through a gateway that translates addresses. Prints one JSON object.
"""

import argparse
import json
import signal
import socket
import struct
import time

_HELLO = b"hello"
_HEADER = struct.Struct("!8sQ")  # a name, so that no tunnel is ever taken for it
_NAME = b"numbered"
_BUFFER = 64 << 20  # bytes; a receiver that is not scheduled for a while loses nothing
_BURST = 64  # datagrams at most between two looks at the clock
_PAUSE = 0.0005  # seconds between two bursts
_SILENCE = 0.3  # seconds without a datagram that end a stream that was told to stop
_PATIENCE = 60.0  # seconds for the first datagram to appear

BIN = 0.01  # seconds; arrivals are counted in bins of this width

# The standard library does not know these two (asm-generic/socket.h).
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33


class _Stop:
    """Set by SIGTERM."""

    def __init__(self) -> None:
        self.wanted = False
        signal.signal(signal.SIGTERM, self._want)

    def _want(self, *_: object) -> None:
        self.wanted = True


def _open(address: str, port: int, *, listen: bool, own: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER)
    # A blocking receive that ends now and then, without a poll before each.
    sock.setsockopt(
        socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 100_000)
    )
    if listen:
        sock.bind((address, port))
        print("listening", flush=True)  # noqa: T201 - the answer of a program
    else:
        if own:
            sock.bind(("", own))
        sock.connect((address, port))
    return sock


def _await_hello(sock: socket.socket) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            data, peer = sock.recvfrom(64)
        except BlockingIOError:
            continue
        if data == _HELLO:
            sock.connect(peer)
            return
    raise SystemExit("no hello came")


def _send(
    sock: socket.socket, rate: float, size: int, seconds: float, stop: _Stop
) -> dict[str, object]:
    """Datagrams of `size` bytes at `rate` bit/s until `seconds` are over or SIGTERM."""
    datagram = bytearray(size)
    pace = rate / 8 / size
    sent = refused = 0
    begin = time.monotonic()
    while (elapsed := time.monotonic() - begin) < seconds and not stop.wanted:
        due = min(int(elapsed * pace) + 1, sent + _BURST)
        while sent < due:
            _HEADER.pack_into(datagram, 0, _NAME, sent)
            sent += 1
            try:
                sock.send(datagram)
            except (ConnectionRefusedError, BlockingIOError):
                refused += 1
        time.sleep(_PAUSE)
    return {"sent": sent, "refused": refused, "seconds": time.monotonic() - begin}


def _receive(sock: socket.socket, stop: _Stop, *, hello: bool) -> dict[str, object]:
    """Every datagram until SIGTERM and then a silence."""
    buffer = bytearray(65536)
    seen = bytearray()
    bins: dict[int, int] = {}
    repeated = size = 0
    last = time.monotonic()
    while True:
        now = time.monotonic()
        if stop.wanted and now - last > _SILENCE:
            break
        try:
            length = sock.recv_into(buffer)
        except (BlockingIOError, ConnectionRefusedError):
            if hello and not seen:
                sock.send(_HELLO)
            continue
        name, number = _HEADER.unpack_from(buffer)
        if name != _NAME:
            continue
        if number >= len(seen):
            seen.extend(bytes(number - len(seen) + 4096))
        repeated += seen[number]
        seen[number] = 1
        size = length
        last = time.monotonic()
        place = int(last / BIN)
        bins[place] = bins.get(place, 0) + length
    return {
        "received": sum(seen),
        "repeated": repeated,
        "size": size,
        "missing": [n for n in range(seen.rfind(1) + 1) if not seen[n]][:1000],
        "bins": sorted(bins.items()),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("send", "receive"))
    parser.add_argument("how", choices=("listen", "connect"))
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, default=1e6)
    parser.add_argument("--size", type=int, default=1200)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--own-port", type=int, default=0, help="of who connects")
    args = parser.parse_args()
    stop = _Stop()
    listen = args.how == "listen"
    with _open(args.address, args.port, listen=listen, own=args.own_port) as sock:
        if args.what == "receive":
            report = _receive(sock, stop, hello=not listen)
        else:
            if listen:
                _await_hello(sock)
            report = _send(sock, args.rate, args.size, args.seconds, stop)
    print(json.dumps(report))  # noqa: T201


if __name__ == "__main__":
    main()
