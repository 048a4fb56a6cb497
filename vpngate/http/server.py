# SPDX-License-Identifier: GPL-2.0-or-later
"""A small HTTP server in a thread of its own.

Knows its thread, its listener and how many connections there may be; each has
`PATIENCE` for everything. Does not know the pages: routes come in as a table, and
handlers run in this server's loop, not in the daemon's.
"""

import asyncio
import os
import resource
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress

from vpngate.accepting import PatientListener
from vpngate.errors import MachineFault, Problem
from vpngate.http.connection import Connection
from vpngate.http.hosts import Hosts, anything
from vpngate.http.routing import PageHandler, Routing
from vpngate.http.slots import Admission

# Connections of one server. An answer in the making costs little, since all who wait
# for the same one share it, and a caller that is told to come back has not been served.
WAITING_LIMIT = 256  # for their caller
ANSWERING_LIMIT = 768  # for us, or for their answer to be taken
FILES = 4096  # open at once: two servers, what is just being accepted, and the rest
ACCEPTED_AT_ONCE = 64
BACKLOG = 1024  # connections that the kernel holds until it is their turn
GRACE = 0.05  # seconds, twice at the stop, for connections that are just being made
PATIENCE = 10.0  # seconds for a request to arrive, be answered, and be taken
LOOK_EVERY = 0.25  # seconds, for those that are overdue


class HttpServer:
    """Serves `routes`, `(method, path)` → handler; HEAD is answered by GET's.

    `hosts` tells by which names they may be asked for, `key` names the configuration
    key that says where to listen.
    """

    def __init__(  # noqa: PLR0913 - where, what, and the limits
        self,
        host: str,
        port: int,
        routes: Mapping[tuple[str, str], PageHandler],
        *,
        hosts: Hosts = anything,
        key: str = "http.listen",
        waiting: int = WAITING_LIMIT,
        answering: int = ANSWERING_LIMIT,
        patience: float = PATIENCE,
    ) -> None:
        self._address = (host, port)
        self._key = key
        self._routing = Routing(routes, hosts)
        self._admission = Admission[Connection](waiting=waiting, answering=answering)
        self._patience = patience
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._called = asyncio.Event()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._address[1]

    def start(self) -> None:
        """Listen, and serve from a new thread; MachineFault if the place is taken."""
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            made = socket.create_server((host, port), family=family)
        except OSError as error:
            raise MachineFault(
                Problem(
                    f"{self._key} {host} port {port}",
                    f"cannot listen: {os.strerror(error.errno or 0)}",
                    "choose another address, or stop what listens there",
                )
            ) from None
        listener = PatientListener(fileno=made.detach())
        _allow_files()
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
        self._loop.call_soon_threadsafe(self._called.set)
        self._thread.join(self._patience)
        self._thread = self._loop = None

    def _run(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
        try:
            loop.run_until_complete(self._serve(listener))
        finally:
            loop.close()

    async def _serve(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            self._connected,
            sock=listener,
            backlog=ACCEPTED_AT_ONCE,
        )
        # asyncio has one number for both: how many it accepts before it looks at
        # anything else, and how many the kernel holds. The second may be larger.
        listener.listen(BACKLOG)
        while not self._stopping.is_set():
            there = self._admission.all()
            for connection in there:
                if connection.overdue(self._patience):
                    connection.drop()
            self._admission.look()
            if not there:  # nobody is overdue until somebody has called
                await self._called.wait()
                self._called.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(LOOK_EVERY, self._patience / 8)):
                    await self._stopping.wait()
        # Who has just called is accepted and dropped like the others, not refused.
        await asyncio.sleep(GRACE)
        # What is being accepted when a server closes is never closed (Python 3.11).
        loop.remove_reader(listener)
        await asyncio.sleep(GRACE)
        server.close()
        for connection in self._admission.all():
            connection.drop()
        await asyncio.sleep(0)  # a transport that was dropped lets go in the next round
        await self._end_pages()

    def _connected(self) -> Connection:
        """One that is being made: it has its slot before the next look but one."""
        self._called.set()
        return Connection(self._admission, self._routing.respond)

    @staticmethod
    async def _end_pages() -> None:
        """Cancel pages that nobody waits for any more."""
        pages = asyncio.all_tasks() - {asyncio.current_task()}
        for page in pages:
            page.cancel()
        await asyncio.gather(*pages, return_exceptions=True)


def _allow_files() -> None:
    """Have the process open as many files as it may, up to `FILES`.

    Where that is less than the connections need, the next one waits a second, or until
    some are closed.
    """
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if now != resource.RLIM_INFINITY and now < FILES:
        wanted = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
