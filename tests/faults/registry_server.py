# SPDX-License-Identifier: GPL-2.0-or-later
"""A web server on loopback whose every route answers well or badly in its own way.

Knows TLS, request heads and raw bytes; does not know registries. A route is a
function that is given the connection and writes what it likes.
"""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

Route = Callable[["Connection"], None]


@dataclass
class Request:
    path: str
    headers: dict[str, str]


@dataclass
class Connection:
    """One accepted connection after its request was read."""

    socket: socket.socket
    request: Request
    sent: int = 0

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)
        self.sent += len(content)

    def head(self, status: str = "200 OK", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status}"]
        lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def reset(self) -> None:
        """Ends with a reset instead of an orderly close."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@dataclass
class RegistryServer:
    """Listens on a free port of 127.0.0.1 while used as a context manager."""

    context: ssl.SSLContext | None
    routes: dict[str, Route] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    sent: int = 0

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in list(self._threads):
            thread.join(5)
            assert not thread.is_alive()

    def url(self, path: str) -> str:
        return f"https://localhost:{self.port}{path}"

    def pause(self, seconds: float) -> None:
        """Sleeps, unless the server is being stopped: then it ends the connection."""
        if self._stopping.wait(seconds):
            raise ConnectionError("stopping")

    def publish(self, path: str, content: bytes, **headers: str) -> None:
        """A route as it should be, with an ETag that is honoured."""
        headers = {"Content_Type": "text/csv"} | headers
        etag = headers.get("ETag", "")

        def route(connection: Connection) -> None:
            if etag and connection.request.headers.get("if-none-match") == etag:
                connection.head("304 Not Modified", ETag=etag)
                return
            connection.head(Content_Length=str(len(content)), **headers)
            connection.send(content)

        self.routes[path] = route

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._start(self._serve, connection)

    def _serve(self, raw: socket.socket) -> None:
        raw.settimeout(60)
        # What a client does to a bad server shows here as an error; it is the
        # client's side that the tests look at.
        with suppress(OSError, ssl.SSLError), raw:
            if self.context is None:
                self._answer(raw)
                return
            with self.context.wrap_socket(raw, server_side=True) as secured:
                self._answer(secured)

    def _answer(self, stream: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (piece := stream.recv(4096)):
                return
            head += piece
            if not b"GET ".startswith(head[:4]):
                stream.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return
        first, *lines = head.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
        pairs = [line.partition(": ") for line in lines]
        headers = {name.lower(): text for name, _, text in pairs}
        connection = Connection(stream, Request(first.split()[1], headers))
        self.requests.append(connection.request)
        route = self.routes.get(connection.request.path, not_found)
        try:
            route(connection)
        finally:
            self.sent += connection.sent


def not_found(connection: Connection) -> None:
    connection.head("404 Not Found", Content_Length="0")


class Tarpit:
    """Accepts connections and says nothing, not even hello."""

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def url(self, path: str) -> str:
        return f"https://localhost:{self.port}{path}"

    def fileno(self) -> int:
        """For select(2): readable once somebody has connected."""
        return self._listener.fileno()


def closed_port() -> int:
    """A port of 127.0.0.1 on which nobody listens (bound once, then let go)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
