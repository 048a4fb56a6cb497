# SPDX-License-Identifier: GPL-2.0-or-later
"""Closes what came from outside, in a thread of its own.

Knows that close(2) may wait: for a connection's last bytes (socket(7), SO_LINGER), or
for whoever serves the file's file system. Does not know what any descriptor is for.
"""

import os
import socket
import struct
import threading
from collections.abc import Iterable
from contextlib import suppress
from queue import SimpleQueue

_LINGER = struct.Struct("ii")
_waiting: SimpleQueue[int] = SimpleQueue()
_starting = threading.Lock()


def close_soon(descriptors: Iterable[int]) -> None:
    """Have descriptors closed; waits for none, also from the event loop."""
    for descriptor in descriptors:
        _waiting.put(descriptor)
        _have_thread()


def _have_thread() -> None:
    with _starting:
        name = "vpngate-closing"
        if not any(one.name == name for one in threading.enumerate()):
            threading.Thread(target=_close, name=name, daemon=True).start()


def _close() -> None:
    while True:
        descriptor = _waiting.get()
        with suppress(OSError):  # no socket
            _hurry(descriptor)
        with suppress(OSError):
            os.close(descriptor)


def _hurry(descriptor: int) -> None:
    """Have a socket not linger: what it has to send it goes on sending by itself."""
    given = socket.socket(fileno=descriptor)
    try:
        given.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.pack(0, 0))
    finally:
        given.detach()
