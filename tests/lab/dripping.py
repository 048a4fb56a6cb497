# SPDX-License-Identifier: GPL-2.0-or-later
"""A source on the loopback of whoever makes it that never comes to its answer's end.

Knows how it keeps who asks waiting; does not know who asks.
"""

import contextlib
import socket
import threading

# A TLS handshake record that never ends (RFC 8446, 5.1).
_RECORD = b"\x16\x03\x03\x40\x00"


class Dripping:
    """A source that begins to answer, and sends a byte every so many seconds."""

    def __init__(self, every: float = 0.2) -> None:
        self._every = every
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.asked = threading.Event()
        self.open = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._drip, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _drip(self, connection: socket.socket) -> None:
        self.open += 1
        with connection, contextlib.suppress(OSError):
            connection.sendall(_RECORD)
            self.asked.set()
            while not self._stop.wait(self._every):
                connection.sendall(b"\2")
        self.open -= 1

    def close(self) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()
