# SPDX-License-Identifier: GPL-2.0-or-later
"""Asking the running daemon: the caller's end of the control socket.

Knows where the socket is by default, and how a request and its answer are framed
(see `control.py`); does not know the verbs. Blocking, for commands; imports
nothing that a command would have to wait for.
"""

import contextlib
import json
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vpngate.daemon.outside.handed_over import sealed
from vpngate.errors import (
    DaemonBusy,
    DaemonUnreachable,
    Problem,
    Refused,
    VpngateError,
    WrongUse,
)

DEFAULT_PATH = "/run/vpngate/control.sock"
ANSWER_LIMIT = 16 * 1024 * 1024  # bytes


def request(
    path: str | Path,
    verb: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    timeout: float = 10.0,
    files: Sequence[bytes] = (),
) -> Any:
    """What the daemon at `path` answers to `verb`, within `timeout` seconds.

    `files` are what it is handed beside the arguments.

    Raises Refused with the daemon's own words if it says no, WrongUse if it does
    not understand, DaemonBusy if it has no room, DaemonUnreachable if none answers.
    """
    line = json.dumps({"verb": verb, "arguments": dict(arguments or {})}).encode()
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(os.fspath(path))
            with contextlib.suppress(BrokenPipeError):  # it has said why already
                _send(connection, line + b"\n", files)
            answer = _read_line(connection)
    except OSError as error:
        raise DaemonUnreachable(_unreachable(str(path), error, timeout)) from None
    try:
        reply = json.loads(answer)
        if reply["ok"]:
            return reply["result"]
        status, lines = reply["exit_status"], [str(line) for line in reply["lines"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise DaemonUnreachable(
            Problem(str(path), "what answers here is no vpngate", "check --socket")
        ) from None
    if reply.get("busy") is True:
        raise DaemonBusy(*lines)
    refusal: type[VpngateError] = (
        WrongUse if status == WrongUse.exit_status else Refused
    )
    raise refusal(*lines)


def _send(connection: socket.socket, line: bytes, files: Sequence[bytes]) -> None:
    """The request, and beside its first bytes the files."""
    with contextlib.ExitStack() as stack:
        descriptors = []
        for content in files:
            descriptors.append(descriptor := sealed(content))
            stack.callback(os.close, descriptor)
        if descriptors:
            sent = socket.send_fds(connection, [line], descriptors)
            line = line[sent:]
        connection.sendall(line)


def _read_line(connection: socket.socket) -> bytes:
    answer = bytearray()
    while not answer.endswith(b"\n") and len(answer) < ANSWER_LIMIT:
        piece = connection.recv(64 * 1024)
        if not piece:
            break
        answer += piece
    return bytes(answer)


def _unreachable(path: str, error: OSError, timeout: float) -> Problem:
    match error:
        case FileNotFoundError() | ConnectionRefusedError():
            return Problem(path, "no daemon answers", "is vpngate running?")
        case BlockingIOError():
            return Problem(path, "the daemon is busy", "try again in a moment")
        case PermissionError():
            return Problem(
                path, "permission denied", "run as root or in the group vpngate"
            )
        case TimeoutError():
            return Problem(path, f"no answer within {timeout:g} s", "see its log")
        case _:
            return Problem(path, f"no daemon answers: {error.strerror or error}")
