# SPDX-License-Identifier: GPL-2.0-or-later
"""No descriptor left: told in few lines, and over as soon as there are some again."""

import socket
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest

_SERVER = """
import logging, os, resource, sys
from http import HTTPStatus
from vpngate.http import HttpServer, Response

async def page(_):
    return Response(HTTPStatus.OK, b"here")

logging.basicConfig(stream=sys.stderr)
server = HttpServer("127.0.0.1", 0, {("GET", "/"): page})
server.start()
print(server.port, flush=True)
before = resource.getrlimit(resource.RLIMIT_NOFILE)
used = max(map(int, os.listdir("/proc/self/fd")))
resource.setrlimit(resource.RLIMIT_NOFILE, (used, before[1]))
print("short", flush=True)
sys.stdin.readline()
resource.setrlimit(resource.RLIMIT_NOFILE, before)
sys.stdin.readline()
server.stop()
"""
_SECONDS = 3.0
_CALLERS = 20


@pytest.mark.slow
def test_callers_for_whom_there_is_no_descriptor_fill_no_log() -> None:
    with (
        subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as server,
        ExitStack() as stack,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        port = int(server.stdout.readline())
        assert server.stdout.readline() == "short\n"
        callers = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(_CALLERS)
        ]
        time.sleep(_SECONDS)
        server.stdin.write("\n")
        server.stdin.flush()
        caller = callers[0]
        caller.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert caller.recv(12) == b"HTTP/1.1 200"
        _, told = server.communicate("\n")
    lines = [line for line in told.splitlines() if "out of system resource" in line]
    # One a second; without patience some hundred in the first second alone.
    assert 1 <= len(lines) <= 2 * _SECONDS
