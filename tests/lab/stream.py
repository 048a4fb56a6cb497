# SPDX-License-Identifier: GPL-2.0-or-later
"""A stream of numbered UDP datagrams: tells offered load from arrived, and each loss.

Knows sockets and a clock; does not know namespaces (`load.py` runs it in them, as a
program of its own with the standard library alone), nor what its datagrams look like
(`framing.py`). One end connects, the other listens, whichever of them sends, or both
do: who connects and does not only send says hello first, which opens the way through
a gateway that translates addresses. Prints one JSON object. Who only receives may be
told in a file how many were sent: then it is over once all are there.
"""

import argparse
import json
import math
import signal
import socket
import struct
import time
from pathlib import Path

from tests.lab.framing import FRAMINGS, Framing

_HELLO = b"hello"
_HEADER = struct.Struct("!8sQ")  # a name, so that no tunnel is ever taken for it
_NAME = b"numbered"
_BUFFER = 64 << 20  # bytes; a receiver that is not scheduled for a while loses nothing
_LARGEST = 65536  # bytes
_BURST = 64  # datagrams at most between two looks at the clock
_MOST_AT_ONCE = 256  # received at most between two looks at what is due
_PAUSE = 0.0005  # seconds between two bursts
# Seconds without a datagram that end a stream that was told to stop; and one of which
# it is known that some are missing.
_SILENCE, _SILENCE_OF_SOME = 1.0, 1.5
_PATIENCE = 180.0  # seconds for the first datagram to appear

BIN = 0.01  # seconds; arrivals are counted in bins of this width

# The standard library does not know these two (asm-generic/socket.h).
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33


class _Stop:
    """Set by SIGTERM."""

    def __init__(self) -> None:
        self.wanted = False
        self.since = math.inf
        signal.signal(signal.SIGTERM, self._want)

    def _want(self, *_: object) -> None:
        self.wanted = True
        self.since = time.monotonic()


def _open(
    address: str, port: int, *, listen: bool, own: tuple[str, int]
) -> socket.socket:
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
        if any(own):
            sock.bind(own)
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


class _Outgoing:
    """Datagrams of `size` bytes at `rate` bit/s, from now on."""

    def __init__(
        self, sock: socket.socket, rate: float, size: int, framing: Framing
    ) -> None:
        self._sock = sock
        self._pace = rate / 8 / size
        self._framing = framing
        self._datagram = bytearray(size)
        self._sent = self._refused = 0
        self._begin = time.monotonic()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._begin

    def catch_up(self) -> None:
        """Send what is due, or a burst of it."""
        elapsed = self.elapsed
        due = min(int(elapsed * self._pace) + 1, self._sent + _BURST)
        for other in self._framing.beside(elapsed):
            self._put(other)
        while self._sent < due:
            head = self._framing.head(self._sent, len(self._datagram), elapsed)
            self._datagram[: len(head)] = head
            _HEADER.pack_into(self._datagram, len(head), _NAME, self._sent)
            self._sent += 1
            self._put(self._datagram)

    def _put(self, datagram: bytes | bytearray) -> None:
        try:
            self._sock.send(datagram)
        except (ConnectionRefusedError, BlockingIOError):
            self._refused += 1

    def report(self) -> dict[str, object]:
        return {"sent": self._sent, "refused": self._refused, "seconds": self.elapsed}


class _Incoming:
    """The datagrams that arrive, by number."""

    def __init__(
        self, sock: socket.socket, framing: Framing, told: Path | None
    ) -> None:
        self._sock = sock
        self._told = told
        self._sent: int | None = None
        self._count = 0  # different ones
        self._at = framing.size
        self._buffer = bytearray(_LARGEST)
        self._seen = bytearray()
        self._bins: dict[int, int] = {}
        self._repeated = self._size = 0
        self.last = time.monotonic()

    @property
    def any(self) -> bool:
        return bool(self._seen)

    def take(self, flags: int = 0) -> None:
        """One datagram; BlockingIOError if there is none."""
        length = self._sock.recv_into(self._buffer, 0, flags)
        if length < self._at + _HEADER.size:
            return
        name, number = _HEADER.unpack_from(self._buffer, self._at)
        if name != _NAME:
            return
        if number >= len(self._seen):
            self._seen.extend(bytes(number - len(self._seen) + 4096))
        self._repeated += self._seen[number]
        self._count += not self._seen[number]
        self._seen[number] = 1
        self._size = length
        self.last = time.monotonic()
        place = int(self.last / BIN)
        self._bins[place] = self._bins.get(place, 0) + length

    def take_all(self) -> None:
        """What has arrived, or as much of it as there is time for."""
        for _ in range(_MOST_AT_ONCE):
            try:
                self.take(socket.MSG_DONTWAIT)
            except (BlockingIOError, ConnectionRefusedError):
                return

    def is_over(self, stop: _Stop) -> bool:
        if not stop.wanted:
            return False
        now = time.monotonic()
        if self._told is None:
            return now - self.last > _SILENCE
        if self._sent is None:
            self._sent = int(self._told.read_text())
        if self._count >= self._sent:
            return True
        return now - max(self.last, stop.since) > _SILENCE_OF_SOME

    def report(self) -> dict[str, object]:
        seen = self._seen
        return {
            "received": sum(seen),
            "repeated": self._repeated,
            "size": self._size,
            "missing": [n for n in range(seen.rfind(1) + 1) if not seen[n]][:1000],
            "bins": sorted(self._bins.items()),
        }


def _send(outgoing: _Outgoing, seconds: float, stop: _Stop) -> dict[str, object]:
    """Until `seconds` are over or SIGTERM."""
    while outgoing.elapsed < seconds and not stop.wanted:
        outgoing.catch_up()
        time.sleep(_PAUSE)
    return outgoing.report()


def _receive(
    sock: socket.socket, incoming: _Incoming, stop: _Stop, *, hello: bool
) -> dict[str, object]:
    """Every datagram until SIGTERM and then a silence."""
    while not incoming.is_over(stop):
        try:
            incoming.take()
        except (BlockingIOError, ConnectionRefusedError):
            if hello and not incoming.any:
                sock.send(_HELLO)
    return incoming.report()


def _converse(
    outgoing: _Outgoing, incoming: _Incoming, seconds: float, stop: _Stop
) -> dict[str, object]:
    """Both at once: send as `_send` does, receive until a silence after that."""
    while outgoing.elapsed < seconds and not stop.wanted:
        outgoing.catch_up()
        incoming.take_all()
        time.sleep(_PAUSE)
    sent = outgoing.report()
    while not incoming.is_over(stop):
        incoming.take_all()
        time.sleep(_PAUSE)
    return sent | incoming.report()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("send", "receive", "both"))
    parser.add_argument("how", choices=("listen", "connect"))
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, default=1e6)
    parser.add_argument("--size", type=int, default=1200)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--own-address", default="", help="of who connects")
    parser.add_argument("--own-port", type=int, default=0, help="of who connects")
    parser.add_argument("--framing", choices=FRAMINGS, default="plain")
    parser.add_argument("--told", type=Path, help="a file that says how many were sent")
    args = parser.parse_args()
    stop = _Stop()
    listen = args.how == "listen"
    framing = FRAMINGS[args.framing]()
    own = args.own_address, args.own_port
    with _open(args.address, args.port, listen=listen, own=own) as sock:
        if listen and args.what != "receive":
            _await_hello(sock)
        elif args.what == "both":
            sock.send(_HELLO)
        incoming = _Incoming(sock, framing, args.told)
        outgoing = _Outgoing(sock, args.rate, args.size, framing)
        if args.what == "receive":
            report = _receive(sock, incoming, stop, hello=not listen)
        elif args.what == "send":
            report = _send(outgoing, args.seconds, stop)
        else:
            report = _converse(outgoing, incoming, args.seconds, stop)
    print(json.dumps(report))  # noqa: T201


if __name__ == "__main__":
    main()
