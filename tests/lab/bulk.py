# SPDX-License-Identifier: GPL-2.0-or-later
"""A TCP connection between two hosts of the lab that carries what it can.

Knows how it is begun and ended; does not know how fast it should be.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator

from tests.lab.topology import Host


@contextlib.contextmanager
def tcp(sender: Host, receiver: Host, ports: tuple[int, int]) -> Iterator[None]:
    """A connection that carries what it can."""
    over = threading.Event()
    listener = receiver.namespace.call(
        lambda: socket.create_server((receiver.ipv4, ports[1]), reuse_port=True)
    )

    def receive() -> None:
        with listener, contextlib.suppress(OSError):
            listener.settimeout(30)
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(5)
                while connection.recv(1 << 20):
                    pass

    def send() -> None:
        with contextlib.suppress(OSError), socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            connection.bind((sender.ipv4, ports[0]))
            connection.settimeout(5)
            connection.connect((receiver.ipv4, ports[1]))
            connection.settimeout(0.5)
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    connection.send(bytes(1 << 16))
            connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )

    threads = [
        threading.Thread(target=receive),
        threading.Thread(target=lambda: sender.namespace.call(send)),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
