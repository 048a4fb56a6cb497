# SPDX-License-Identifier: GPL-2.0-or-later
"""A moment at which a transfer ends, however slowly the other side drips.

Knows time, threads and sockets; does not know HTTP. A timeout of a socket starts
anew with every byte, so a server that sends one byte a second is never late. Here
the connection is shut from outside when its time is over or when somebody asks, and
whoever waits on it wakes up.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from vpngate.feed.faults import Reason, fault, given_up


class Deadline:
    """Time for one piece of work, in seconds from now; may be cut short."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._watched: set[socket.socket] = set()

    @property
    def remaining(self) -> float:
        """Seconds left, 0 if none."""
        return max(0.0, self._end - time.monotonic())

    def cancel(self) -> None:
        """Ends the work now; from any thread, any number of times."""
        self._cancelled.set()
        with self._lock:
            for connection in self._watched:
                _shut(connection)

    def check(self, where: str) -> None:
        """FeedFault if the time is over or the work was cancelled."""
        if self._cancelled.is_set():
            raise given_up(where)
        if not self.remaining:
            what = f"did not deliver within {self.seconds:g} s"
            remedy = "see whether the server and the way to it are overloaded"
            raise fault(Reason.TIMEOUT, where, what, remedy)

    def wait(self, seconds: float, where: str) -> None:
        """Sleeps, but neither past the end nor past `cancel`; then checks."""
        self._cancelled.wait(min(seconds, self.remaining))
        self.check(where)

    @contextmanager
    def over(self, connection: socket.socket) -> Iterator[None]:
        """While inside, the connection is shut when the time is over.

        The descriptor is duplicated: shutting the copy shuts the connection, and no
        other thread can close it and have its number used for something else.
        """
        copy = socket.socket(fileno=os.dup(connection.fileno()))
        timer = threading.Timer(self.remaining, self._cut, [copy])
        timer.daemon = True
        with self._lock:
            self._watched.add(copy)
        if self._cancelled.is_set():
            self._cut(copy)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with self._lock:
                self._watched.discard(copy)
                copy.close()

    def _cut(self, copy: socket.socket) -> None:
        with self._lock:
            if copy in self._watched:
                _shut(copy)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # the other side was faster
        connection.shutdown(socket.SHUT_RDWR)
