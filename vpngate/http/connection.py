# SPDX-License-Identifier: GPL-2.0-or-later
"""One connection: its request is read, answered, and it ends.

Knows asyncio's transports, and in which phase a connection is; does not know what is
answered, or how many there may be.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import cast

from vpngate.http.exchange import Exchange
from vpngate.http.request_response import BadRequest, Request, Response
from vpngate.http.routing import BUSY
from vpngate.http.slots import Admission, peer_of

LINGER = 1.0  # seconds for a caller to hang up after its answer
LINGER_BYTES = 1024 * 1024  # of what it still had to say, read and forgotten
STALL = 0.5  # seconds without taking the answer, after which others come first

Respond = Callable[[Request], Awaitable[Response]]


class Phase(Enum):
    """What a connection waits for."""

    READING = auto()  # the request
    QUEUEING = auto()  # its turn
    ANSWERING = auto()  # the page
    SENDING = auto()  # the caller to take it
    LINGERING = auto()  # the caller to hang up


class Connection(asyncio.Protocol):
    """From being accepted to being closed; one request, one answer.

    After the answer our half is closed, and the caller's read until it hangs up: an
    answer to a request that is still being sent would be lost otherwise (RFC 9112,
    9.6).
    """

    def __init__(self, admission: Admission["Connection"], respond: Respond) -> None:
        self._admission = admission
        self._respond = respond
        self._loop = asyncio.get_running_loop()
        self._phase = Phase.READING
        self._began = self._loop.time()
        self._since = self._began  # in this phase
        self._spilt = 0  # bytes read and forgotten
        self._heard_out = False  # the caller has closed its half
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport
        self._exchange: Exchange
        self._request: Request
        self.peer = ""

    @property
    def stalled(self) -> bool:
        """Whether the caller does not read its answer."""
        waited = self._loop.time() - self._since
        return self._phase is Phase.SENDING and waited > STALL

    @property
    def in_the_making(self) -> bool:
        """Whether the answer is still to come, from us."""
        return self._phase is Phase.ANSWERING

    def overdue(self, patience: float) -> bool:
        """Whether it has lasted longer than `patience`, in seconds, for everything."""
        now = self._loop.time()
        lingers = self._phase is Phase.LINGERING and now - self._since > LINGER
        return lingers or now - self._began > patience

    def drop(self) -> None:
        """End it at once; what the caller has not read by now is lost."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio when the connection is open: take a slot."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        if not peer:  # gone already
            self._transport.abort()
            return
        # Whether all of an answer is on its way is then told by the transport.
        self._transport.set_write_buffer_limits(high=0)
        self._exchange = Exchange(peer[0], transport.get_extra_info("sockname")[0])
        self.peer = peer_of(peer[0])
        self._admission.wait(self)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio with more bytes: the request may be complete, or wrong."""
        if self._phase is not Phase.READING:
            self._spilt += len(data)
            if self._spilt > LINGER_BYTES:
                self._transport.abort()
            return
        try:
            request = self._exchange.receive(data)
        except BadRequest as bad:
            self._send(Response.text(bad.status, bad.status.phrase.lower()))
            return
        if self._exchange.interim:
            self._transport.write(self._exchange.interim)
            self._exchange.interim = b""
        if request is None:
            return
        self._transport.pause_reading()
        self._request = request
        if self._admission.answer(self):
            self.begin()
        elif self._admission.queue(self):
            self._enter(Phase.QUEUEING)
        else:
            self.refuse()

    def begin(self) -> None:
        """Have the request answered: it has a slot for that."""
        self._enter(Phase.ANSWERING)
        self._task = self._loop.create_task(self._answer(self._request))

    def refuse(self) -> None:
        """Tell the caller to come back: there is no slot for its answer."""
        self._send(BUSY)

    def eof_received(self) -> bool:
        """Called when the caller sends no more; whether the connection stays open."""
        self._heard_out = True
        return self._phase in (Phase.QUEUEING, Phase.ANSWERING, Phase.SENDING)

    def resume_writing(self) -> None:
        """Called by asyncio when the whole answer has been sent."""
        if self._phase is Phase.SENDING:
            self._linger()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """Called by asyncio when the connection is closed, by either side."""
        if self._task is not None:
            self._task.cancel()
        if self.peer:
            self._admission.leave(self)

    async def _answer(self, request: Request) -> None:
        response = await self._respond(request)
        if not self._transport.is_closing():
            self._send(response)

    def _send(self, response: Response) -> None:
        self._enter(Phase.SENDING)
        self._transport.write(self._exchange.answer(response))
        if not self._transport.get_write_buffer_size():
            self._linger()

    def _linger(self) -> None:
        if self._transport.is_closing():
            return
        self._enter(Phase.LINGERING)
        with contextlib.suppress(OSError):  # reset meanwhile; reading tells
            self._transport.write_eof()
        self._transport.resume_reading()
        if self._heard_out:
            self._transport.close()
        self._admission.linger(self)

    def _enter(self, phase: Phase) -> None:
        self._phase, self._since = phase, self._loop.time()
