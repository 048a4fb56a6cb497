# SPDX-License-Identifier: GPL-2.0-or-later
"""A small HTTP server in a thread of its own.

Knows connections, deadlines and limits: one request a connection, each within
`PATIENCE`, at most `CONNECTION_LIMIT` at once. When all are taken, the one that
has waited longest without a complete request makes room, so slow callers keep
nobody out. Does not know the pages: routes come in as a table, and handlers run
in this server's loop, not in the daemon's.
"""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Mapping
from http import HTTPStatus

from vpngate.errors import MachineFault, Problem
from vpngate.http import messages
from vpngate.http.messages import BadRequest, Request, Response
from vpngate.http.pages import Handler

CONNECTION_LIMIT = 64
GRACE = 0.05  # seconds for connections that are just being made, at the stop
PATIENCE = 10.0  # seconds for a request to arrive, be answered, and be taken

_log = logging.getLogger(__name__)


class HttpServer:
    """Serves `routes`, `(method, path)` → handler; HEAD is answered by GET's."""

    def __init__(
        self,
        host: str,
        port: int,
        routes: Mapping[tuple[str, str], Handler],
        *,
        connections: int = CONNECTION_LIMIT,
        patience: float = PATIENCE,
    ) -> None:
        self._address = (host, port)
        self._routes = routes
        self._limit = connections
        self._patience = patience
        self._all: set[asyncio.Task[None]] = set()
        self._waiting: dict[asyncio.Task[None], None] = {}  # the longest first
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._address[1]

    def start(self) -> None:
        """Listen, and serve from a new thread; MachineFault if the place is taken."""
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, port), family=family)
        except OSError as error:
            raise MachineFault(
                Problem(
                    f"http.listen {host} port {port}",
                    f"cannot listen: {os.strerror(error.errno or 0)}",
                    "choose another address, or stop what listens there",
                )
            ) from None
        self._address = (host, listener.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, args=(self._loop, listener), name="http", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Close every connection and end the thread."""
        if self._thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(self._patience)
        self._thread = self._loop = None

    def _run(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
        try:
            loop.run_until_complete(self._serve(listener))
        finally:
            loop.close()

    async def _serve(self, listener: socket.socket) -> None:
        server = await asyncio.start_server(
            self._accept, sock=listener, limit=messages.HEAD_LIMIT
        )
        await self._stopping.wait()
        # Connections just being made get their turn, find us stopping, and go:
        # those that a closed server still accepts are never closed (Python 3.11).
        await asyncio.sleep(GRACE)
        server.close()
        for task in self._all:
            task.cancel()
        await asyncio.gather(*self._all, return_exceptions=True)
        await asyncio.sleep(0)  # a closed transport lets go in the next round

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        full = len(self._all) >= self._limit
        if self._stopping.is_set() or (full and not self._waiting):
            writer.close()
            return
        if full:
            longest = next(iter(self._waiting))
            del self._waiting[longest]
            longest.cancel()
        # Draining then means: all of it is on its way.
        writer.transport.set_write_buffer_limits(high=0)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs this as a task
        self._all.add(task)
        self._waiting[task] = None
        try:
            async with asyncio.timeout(self._patience):
                await self._exchange(reader, writer, task)
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass  # the caller left, dawdled or made room, or we stop
        finally:
            self._all.discard(task)
            self._waiting.pop(task, None)
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()  # what was not taken by now is not kept
            else:
                writer.close()

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        task: asyncio.Task[None],
    ) -> None:
        method = ""
        try:
            request = await _read(reader, str(writer.get_extra_info("peername")[0]))
            method = request.method
            self._waiting.pop(task, None)
            response = await self._respond(request)
        except BadRequest as bad:
            response = Response.text(bad.status, bad.status.phrase.lower())
        except asyncio.IncompleteReadError:
            return
        writer.write(response.encode(head_only=method == "HEAD"))
        await writer.drain()

    async def _respond(self, request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        handler = self._routes.get((method, request.path))
        if handler is None:
            allowed = sorted(m for m, path in self._routes if path == request.path)
            if not allowed:
                return Response.text(HTTPStatus.NOT_FOUND, "not found")
            return Response.text(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "method not allowed",
                Allow=", ".join(allowed),
            )
        try:
            return await handler(request)
        except Exception:  # noqa: BLE001 - one broken page, not the server
            _log.exception("http: a page failed")
            return Response.text(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error")


async def _read(reader: asyncio.StreamReader, peer: str) -> Request:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        raise BadRequest(status) from None
    request = messages.parse_head(head, peer)
    body = await reader.readexactly(messages.body_size(request))
    return request._replace(body=body)
