# SPDX-License-Identifier: GPL-2.0-or-later
"""All that one host sends and receives: a program, run inside the host's namespace.

Knows sockets and a clock, and writes down in books what became of each flow; does not
know who looks at them. `python -m tests.campaign.traffic FILE`, where FILE is a list
of ends in JSON, each the fields of `End`. It goes on until SIGTERM. One program for
all flows of a host: what the machine does to one flow it does to its control.
"""

import contextlib
import fcntl
import json
import select
import signal
import socket
import struct
import sys
import termios
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from tests.campaign.book import Book

_TICK = 0.005  # seconds between two looks at what is due
_BURST = 64  # datagrams at most between two looks: who was late does not flood
_AT_ONCE = 256  # received at most of one flow between two looks
_HEADER = struct.Struct("!8sQ")
_NAME = b"campaign"  # so that no tunnel is ever taken for it
_BUFFER = 8 << 20  # bytes; who is not scheduled for a while loses nothing
_AGAIN = 0.1  # seconds before a stream that ended is opened again
# Seconds in which word comes that a segment was sent again for nothing.
NEEDLESS_BY = 0.2
_NOBODY_THERE = 1 << 40  # bytes under way of a stream that has no other end
_COUNT = struct.Struct("=i")
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
# struct tcp_info of linux/tcp.h: tcpi_total_retrans, tcpi_dsack_dups.
_INFO_BYTES, _RETRANSMITTED, _DUPLICATES = 232, 100, 216


@dataclass(frozen=True)
class End:
    """One end of a flow.

    own, other  address and port; a stream's sender listens at its own
    pace        datagrams a second, or writes
    size        bytes of payload of each
    """

    book: str
    sends: bool
    stream: bool
    own: tuple[str, int]
    other: tuple[str, int]
    pace: float
    size: int


def _bound(end: End) -> socket.socket:
    made = socket.socket(
        socket.AF_INET, socket.SOCK_STREAM if end.stream else socket.SOCK_DGRAM
    )
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if not end.stream:
        for option in (_SO_SNDBUFFORCE, _SO_RCVBUFFORCE):
            made.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
    made.setblocking(False)
    made.bind(tuple(end.own))
    return made


class _Paced:
    """How much of a flow is due."""

    def __init__(self, end: End) -> None:
        self._pace = end.pace
        self._begin = time.monotonic()
        self._done = 0

    def due(self) -> range:
        """The numbers that are to go out now."""
        first = self._done
        wanted = int((time.monotonic() - self._begin) * self._pace)
        self._done = min(wanted, first + _BURST)
        return range(first, self._done)


class _Sender:
    """Numbered datagrams."""

    def __init__(self, end: End) -> None:
        self._socket = _bound(end)
        self._other = tuple(end.other)
        self._book = Book(Path(end.book))
        self._paced = _Paced(end)
        self._datagram = bytearray(end.size)

    def turn(self) -> None:
        due = self._paced.due()
        refused = 0
        for number in due:
            _HEADER.pack_into(self._datagram, 0, _NAME, number)
            try:
                self._socket.sendto(self._datagram, self._other)
            except OSError:  # no way there, or no room
                refused += 1
        if due:
            self._book.note_sent(len(due), refused)


class _Receiver:
    def __init__(self, end: End) -> None:
        self._socket = _bound(end)
        self._book = Book(Path(end.book))
        self._buffer = bytearray(end.size)

    def turn(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                length = self._socket.recv_into(self._buffer)
            except OSError:
                return
            if length >= _HEADER.size:
                name, number = _HEADER.unpack_from(self._buffer)
                if name == _NAME:
                    self._book.note_number(number)


class Resent:
    """What had to be sent again, told once it is known that it had to.

    On a busy machine a probe goes out because an answer is late. That it was needless
    is known when the other end has said so.
    """

    def __init__(self) -> None:
        self.latest = 0
        self._lately: deque[tuple[float, int]] = deque()

    def count(self, latest: int, now: float) -> int:
        """The least of the last moments; `now` in seconds."""
        self.latest = latest
        self._lately.append((now, latest))
        while self._lately[0][0] < now - NEEDLESS_BY:
            self._lately.popleft()
        return min(count for _, count in self._lately)


class _StreamSender:
    """Listens, and writes to who has called last."""

    def __init__(self, end: End) -> None:
        self._listener = _bound(end)
        self._listener.listen()
        self._book = Book(Path(end.book))
        self._paced = _Paced(end)
        self._payload = bytes(end.size)
        self._rest = b""  # of a write that the kernel took a part of
        self._connection: socket.socket | None = None
        self._resent = Resent()
        self._resent_before = 0  # by the connections before this one

    def turn(self) -> None:
        self._accept()
        due = self._paced.due()
        if self._connection is None:
            self._book.note_under_way(_NOBODY_THERE)
            return
        try:
            self._write(self._connection, len(due))
        except OSError:
            self._book.note_broken()
            self._resent_before = self._resent.latest
            self._connection.close()
            self._connection = None

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            accepted, _ = self._listener.accept()
            accepted.setblocking(False)
            if self._connection is not None:
                self._resent_before = self._resent.latest
                self._connection.close()
            self._connection, self._rest = accepted, b""

    def _write(self, connection: socket.socket, count: int) -> None:
        content = self._rest + self._payload * count
        if content:
            try:
                taken = connection.send(content)
            except BlockingIOError:
                taken = 0
            self._rest = content[taken:][: _BURST * len(self._payload)]
            self._book.note_sent(count)
        (waiting,) = _COUNT.unpack(
            fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(_COUNT.size))
        )
        self._book.note_under_way(waiting + len(self._rest))
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
        if len(info) < _INFO_BYTES:
            return
        (again,) = struct.unpack_from("=I", info, _RETRANSMITTED)
        (needless,) = struct.unpack_from("=I", info, _DUPLICATES)
        latest = self._resent_before + max(0, again - needless)
        self._book.note_resent(self._resent.count(latest, time.monotonic()))


class _StreamReceiver:
    """Calls, and calls again where the stream ends."""

    def __init__(self, end: End) -> None:
        self._end = end
        self._book = Book(Path(end.book))
        self._bytes = 0
        self._connection: socket.socket | None = None
        self._next = 0.0

    def turn(self) -> None:
        if self._connection is None:
            self._call()
            return
        try:
            content = self._connection.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            content = b""
        if not content:
            self._book.note_broken()
            self._connection.close()
            self._connection = None
            return
        before = self._bytes // self._end.size
        self._bytes += len(content)
        if whole := self._bytes // self._end.size - before:
            self._book.note_came(whole)

    def _call(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _AGAIN
        made = socket.socket()
        made.setblocking(False)
        try:
            made.bind((self._end.own[0], 0))
            made.connect(tuple(self._end.other))
        except BlockingIOError:
            self._connection = made  # it is on its way
        except OSError:
            made.close()


def _made(end: End) -> _Sender | _Receiver | _StreamSender | _StreamReceiver:
    if end.stream:
        return _StreamSender(end) if end.sends else _StreamReceiver(end)
    return _Sender(end) if end.sends else _Receiver(end)


def main() -> None:
    going = True

    def stop(*_: object) -> None:
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, stop)
    ends = [End(**fields) for fields in json.loads(Path(sys.argv[1]).read_text())]
    made = [_made(end) for end in ends]
    print("running", flush=True)  # noqa: T201 - the answer of a program
    while going:
        for one in made:
            one.turn()
        select.select([], [], [], _TICK)


if __name__ == "__main__":
    main()
