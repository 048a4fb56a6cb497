# SPDX-License-Identifier: GPL-2.0-or-later
"""The control socket: one request a line, one answer a line, JSON both.

    {"verb": "reload", "arguments": {"accept_removals": true}}
    {"ok": true, "result": {...}}
    {"ok": false, "exit_status": 1, "lines": ["what, where, what to do", ...]}

Knows framing, who may connect, limits, and who asked for a change; does not know
what a verb does: the daemon hands in a dict of handlers. The other end of the
wire is `client.py`.
"""

import asyncio
import contextlib
import contextvars
import json
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from vpngate.daemon.outside.callers import (
    Callers,
    Seat,
)
from vpngate.daemon.outside.client import DEFAULT_PATH
from vpngate.daemon.outside.handed_over import CallersListener
from vpngate.daemon.outside.listening import bind, peer_uid, refuse_if_alive
from vpngate.errors import MachineFault, Problem, VpngateError, WrongUse
from vpngate.log_events import named, place_of

# A handler gets the arguments of the request; what it returns is the result.
VerbHandler = Callable[[Mapping[str, Any]], Awaitable[Any]]

# The uid of whoever's verb is being handled.
asked_by: contextvars.ContextVar[int] = contextvars.ContextVar("asked_by")

REQUEST_LIMIT = 64 * 1024  # bytes in a line
_SELF_ORDERED = frozenset({"reload", "enforce", "confirm", "observe", "preview"})
# Questions: they change nothing, and nothing of them is logged.
READ_ONLY = ("status", "report", "compare", "lookup", "expiring", "counters")
_URGENT = frozenset({"observe"})
PATIENCE = 10.0  # seconds for a request to arrive, or an answer to be taken

_ARGUMENT = re.compile(r"[a-z_]{1,40}", re.ASCII)

_log = logging.getLogger(__name__)


class ControlServer:
    """Listens on `path` and answers with `verbs`.

    Verbs outside `read_only` count as changes: they run one at a time, and each
    is logged with the caller's uid. Those that are `self_ordered` see to that
    themselves: one that waits for a source holds up no other. Those that are urgent
    find a place where everybody else is told to come back. `verbs` is read at each
    request, so an entry added later is served too.
    """

    def __init__(
        self,
        path: str | Path,
        verbs: Mapping[str, VerbHandler],
        *,
        read_only: Collection[str] = READ_ONLY,
        self_ordered: Collection[str] = _SELF_ORDERED,
        patience: float = PATIENCE,
    ) -> None:
        self._path = Path(path)
        self._verbs = verbs
        self._read_only = frozenset(read_only)
        self._self_ordered = frozenset(self_ordered)
        self._patience = patience
        self._changing = asyncio.Lock()
        self._callers = Callers()
        self._server: asyncio.Server | None = None
        self._listener: CallersListener
        self._inode = 0

    async def start(self) -> None:
        """Bind and serve.

        A socket left behind by a dead daemon is replaced. Raises Refused if a live
        one answers there, MachineFault if the place cannot be used.
        """
        try:
            await asyncio.to_thread(refuse_if_alive, self._path)
            self._listener = bind(self._path)
        except OSError as error:
            problem = Problem(
                str(self._path),
                f"cannot open the control socket: {error.strerror or error}",
                "create its folder, run with privileges, or choose another --socket",
            )
            raise MachineFault(problem) from None
        self._inode = self._path.stat().st_ino
        self._server = await asyncio.start_unix_server(
            self._accept, sock=self._listener, limit=REQUEST_LIMIT
        )

    async def stop(self) -> None:
        """Answer nobody any more, and remove the socket if it is still ours."""
        if self._server is None:
            return
        self._server.close()
        for connection in (connections := self._callers.all):
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        self._server = None
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs this as a task
        uid = peer_uid(writer.get_extra_info("socket"))
        place = self._callers.admit(task, uid)
        if place is Seat.NONE:
            writer.write(_encoded(_BUSY))
            writer.close()
            return
        try:
            await self._converse(reader, writer, uid, place)
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass  # the caller went away or dawdled, or we stop: nobody to tell
        finally:
            self._callers.leave(task)
            writer.close()

    async def _converse(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        uid: int,
        place: Seat,
    ) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - see above
        while True:
            self._callers.is_silent(task)
            async with asyncio.timeout(self._patience):
                try:
                    line = await reader.readuntil(b"\n")
                except asyncio.IncompleteReadError:
                    return
                except asyncio.LimitOverrunError:
                    line = b""
            self._callers.has_asked(task)
            with self._listener.handed_over(writer):
                answer = await self._answer(line, uid, place)
            writer.write(_encoded(answer))
            async with asyncio.timeout(self._patience):
                await writer.drain()
            if not line or place is Seat.URGENT:
                return

    async def _answer(
        self, line: bytes, uid: int, place: Seat = Seat.ANY
    ) -> dict[str, Any]:
        try:
            verb, arguments = _parse(line)
            if place is Seat.URGENT and verb not in _URGENT:
                return _BUSY
            result = await self._run(verb, arguments, uid)
        except VpngateError as error:
            return _refusal(error.exit_status, error.lines)
        except Exception as error:  # noqa: BLE001 - one broken verb, not the daemon
            # Who asked is told what the error says; the log is not: it may quote the
            # question, which may be about an address.
            where = place_of(error)
            _log.error(
                "control: a request failed: %s", where, extra=named("verb_failed")
            )
            return _refusal(1, [f"the daemon failed: {type(error).__name__}: {error}"])
        return {"ok": True, "result": result}

    async def _run(self, verb: str, arguments: Mapping[str, Any], uid: int) -> Any:
        handler = self._verbs.get(verb)
        if handler is None:
            raise WrongUse(Problem(verb, "this daemon has no such verb"))
        asked_by.set(uid)
        if verb in self._read_only:
            return await handler(arguments)
        _log.info(
            "control: %s %s asked by uid %d",
            verb,
            _shown(arguments),
            uid,
            extra=named("verb_asked", verb=verb, uid=uid),
        )
        if verb in self._self_ordered:
            return await handler(arguments)
        async with self._changing:
            return await handler(arguments)


def flags(arguments: Mapping[str, Any], *names: str) -> frozenset[str]:
    """Which of the arguments that a verb takes are true; WrongUse for any other."""
    for name, value in arguments.items():
        if name not in names:
            raise WrongUse(Problem(repr(name), "is no argument of this verb"))
        if not isinstance(value, bool):
            raise WrongUse(Problem(name, "is neither true nor false"))
    return frozenset(name for name, value in arguments.items() if value)


def _shown(arguments: Mapping[str, Any]) -> str:
    """The arguments for the log: numbers, not what somebody has typed.

    No verb takes a text; one that is sent all the same may be anybody's address.
    """
    return json.dumps(
        {
            name: value if value is None or isinstance(value, int | float) else "?"
            for name, value in arguments.items()
            if _ARGUMENT.fullmatch(name)
        }
    )


def _encoded(answer: Mapping[str, Any]) -> bytes:
    return json.dumps(answer, default=str).encode() + b"\n"


def _refusal(exit_status: int, lines: list[str]) -> dict[str, Any]:
    return {"ok": False, "exit_status": exit_status, "lines": lines}


_BUSY = {
    **_refusal(2, ["the daemon is busy: too many callers; try again in a moment"]),
    "busy": True,
}


def _parse(line: bytes) -> tuple[str, Mapping[str, Any]]:
    try:
        request = json.loads(line)
        verb, arguments = request["verb"], request.get("arguments", {})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        verb, arguments = None, None
    if not isinstance(verb, str) or not isinstance(arguments, dict):
        raise WrongUse(
            Problem(
                "request", f"not one line of JSON with a verb, {REQUEST_LIMIT} bytes"
            )
        )
    return verb, arguments


__all__ = ["DEFAULT_PATH", "ControlServer", "VerbHandler", "asked_by", "flags"]
