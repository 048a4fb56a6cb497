# SPDX-License-Identifier: GPL-2.0-or-later
"""Callers of a web server who mean no good, many of them, for some seconds.

    python -m tests.lab.crowd HOST PORT SECONDS [silent=N] [dripping=N] [hasty=RATE]

`silent` connections say nothing, `dripping` ones a byte of a request a second; whoever
is thrown out comes back a second later. `hasty` callers come at RATE a second with a
whole request each. Prints `begun`, once the patient ones have called, and at the end,
by itself or by SIGTERM, how many connections of each kind there were. Knows sockets;
does not know the server.
"""

import contextlib
import heapq
import itertools
import resource
import selectors
import signal
import socket
import sys
import time
from collections import Counter
from typing import NamedTuple

_AGAIN = 1.0  # seconds between two bytes, and until somebody comes back
_FILES = 4096
_IN_FLIGHT = 1500  # hasty callers at once; more are left out, and counted
_PATHS = ("/", "/metrics", "/status.json", "/healthz")


class Caller(NamedTuple):
    kind: str
    connection: socket.socket
    request: bytes


class Crowd:
    """All of them, in one loop."""

    def __init__(self, host: str, port: int) -> None:
        self._where = (host, port)
        self._ready = selectors.DefaultSelector()
        self._paths = itertools.cycle(_PATHS)
        self._hasty = 0  # in flight
        self._again: list[tuple[float, int, str]] = []  # who comes back, when
        self._drips: list[tuple[float, int, Caller]] = []
        self._order = itertools.count()
        self.counts: Counter[str] = Counter()

    def call(self, kind: str) -> None:
        """Connect one more, without waiting for it."""
        if kind == "hasty":
            if self._hasty >= _IN_FLIGHT:
                self.counts["left_out"] += 1
                return
            self._hasty += 1
        connection = socket.socket(
            socket.AF_INET6 if ":" in self._where[0] else socket.AF_INET
        )
        connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            connection.connect(self._where)
        request = f"GET {next(self._paths)} HTTP/1.1\r\nHost: {self._where[0]}\r\n"
        caller = Caller(kind, connection, request.encode())
        writes = kind != "silent"
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writes else 0)
        self._ready.register(connection, events, caller)
        self.counts[kind] += 1

    def step(self, until: float) -> None:
        """Serve what is ready, up to a moment of the monotonic clock."""
        now = time.monotonic()
        while self._again and self._again[0][0] <= now:
            self.call(heapq.heappop(self._again)[2])
        while self._drips and self._drips[0][0] <= now:
            self._drip(heapq.heappop(self._drips)[2])
        for key, events in self._ready.select(max(0.0, min(until - now, 0.01))):
            caller: Caller = key.data
            try:
                if events & selectors.EVENT_WRITE:
                    self._say(caller)
                if events & selectors.EVENT_READ and not self._hear(caller):
                    self._end(caller)
            except BlockingIOError:
                continue
            except OSError:
                self.counts[f"{caller.kind}_failed"] += 1
                self._end(caller)

    def _say(self, caller: Caller) -> None:
        self._ready.modify(caller.connection, selectors.EVENT_READ, caller)
        if caller.kind == "hasty":
            caller.connection.send(caller.request + b"\r\n")
        else:
            caller.connection.send(caller.request + b"X-Drip: ")
            self._drip_later(caller)

    def _hear(self, caller: Caller) -> bool:
        heard = caller.connection.recv(1 << 20)
        if heard.startswith(b"HTTP/1.1 "):
            self.counts[f"{caller.kind}_{heard[9:12].decode()}"] += 1
        return bool(heard)

    def _drip_later(self, caller: Caller) -> None:
        when = time.monotonic() + _AGAIN
        heapq.heappush(self._drips, (when, next(self._order), caller))

    def _drip(self, caller: Caller) -> None:
        if caller.connection.fileno() >= 0:
            with contextlib.suppress(OSError):
                caller.connection.send(b"a")
            self._drip_later(caller)

    def _end(self, caller: Caller) -> None:
        self._ready.unregister(caller.connection)
        caller.connection.close()
        if caller.kind == "hasty":
            self._hasty -= 1
        else:
            when = time.monotonic() + _AGAIN
            heapq.heappush(self._again, (when, next(self._order), caller.kind))


def main(host: str, port: str, seconds: str, *kinds: str) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES, most), most))
    numbers = {name: int(n) for name, _, n in (kind.partition("=") for kind in kinds)}
    rate = numbers.pop("hasty", 0)
    crowd = Crowd(host, int(port))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        _crowd(crowd, float(seconds), numbers, rate)
    finally:
        sys.stdout.write(f"{dict(crowd.counts)}\n")


def _crowd(crowd: Crowd, seconds: float, patient: dict[str, int], rate: int) -> None:
    for kind, number in patient.items():
        for _ in range(number):
            crowd.call(kind)
            crowd.step(time.monotonic())
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    begin = time.monotonic()
    end, called = begin + seconds, 0
    while (now := time.monotonic()) < end:
        # Not more at once than a busy machine has made late: this is no burst.
        due = min(int((now - begin) * rate) - called, 50)
        for _ in range(due):
            crowd.call("hasty")
        called += due
        crowd.step(begin + (called + 1) / rate if rate else now + 0.01)


if __name__ == "__main__":
    main(*sys.argv[1:])
