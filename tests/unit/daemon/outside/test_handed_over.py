# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory files beside a request, and everything else that a caller might send there."""

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from vpngate.daemon.outside.client import request
from vpngate.daemon.outside.control import ControlServer
from vpngate.daemon.outside.handed_over import FILES, MOST_FILES, content_of, sealed
from vpngate.errors import WrongUse

T = TypeVar("T")
CONTENT = os.urandom(300_000)  # more than a socket's buffer
PATIENCE = 60.0  # seconds
LINGERING = 600  # seconds


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


async def preview(_arguments: Mapping[str, Any]) -> Any:
    files = [content_of(one, 2**20, "it") for one in FILES.get()]
    return [[len(one), one == CONTENT] for one in files]


async def other(arguments: Mapping[str, Any]) -> Any:
    return sorted(arguments)


def _open() -> int:
    """How many descriptors are open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def served(path: Path, ask: Callable[[], T]) -> T:
    """What a blocking `ask` gets from a server; nothing that was sent stays open."""

    async def both() -> T:
        server = ControlServer(path, {"preview": preview, "status": other})
        await server.start()
        try:
            before = _open()
            answer = await asyncio.to_thread(ask)
            async with asyncio.timeout(PATIENCE):
                # A connection's end is noticed in its turn, and closed in another's.
                while _open() > before:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
            return answer
        finally:
            await server.stop()

    return asyncio.run(both())


def test_what_is_handed_over_arrives(path: Path) -> None:
    files = [CONTENT, b""]
    answer = served(path, lambda: request(path, "preview", files=files))
    assert answer == [[len(CONTENT), True], [0, False]]


def test_a_verb_that_takes_none_never_sees_them(path: Path) -> None:
    answer = served(path, lambda: request(path, "status", {"a": 1}, files=[CONTENT]))
    assert answer == ["a"]


def test_nobody_names_a_descriptor_of_the_daemons(path: Path) -> None:
    arguments = {"files": [0, 1, 2]}
    assert served(path, lambda: request(path, "preview", arguments)) == []


def _sent(path: Path, *descriptors: int, line: bytes = b"") -> Any:
    """The answer to a request that came with these; they stay the caller's."""
    asked = line or json.dumps({"verb": "preview"}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(10)
        caller.connect(os.fspath(path))
        socket.send_fds(caller, [asked], list(descriptors))
        if not asked.endswith(b"\n"):
            return None
        return json.loads(caller.makefile().readline())


def test_no_more_than_so_many_are_taken(path: Path) -> None:
    files = [sealed(b"x") for _ in range(MOST_FILES + 20)]
    try:
        answer = served(path, lambda: _sent(path, *files))
    finally:
        for one in files:
            os.close(one)
    assert len(answer["result"]) == MOST_FILES


def test_who_goes_away_in_the_middle_leaves_nothing_open(path: Path) -> None:
    files = [sealed(b"x") for _ in range(MOST_FILES)]
    try:
        for _ in range(5):
            assert served(path, lambda: _sent(path, *files, line=b'{"verb"')) is None
    finally:
        for one in files:
            os.close(one)


def _memory(*, size: int = 1) -> int:
    descriptor = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    os.truncate(descriptor, size)
    return descriptor


def _pipe() -> int:
    reading, _ = os.pipe()  # somebody could write for ever, or never
    return reading


def _socket() -> int:
    return socket.socket(socket.AF_UNIX).detach()


@pytest.mark.parametrize(
    "make",
    [
        _memory,
        lambda: os.memfd_create("x", 0),
        lambda: os.open(__file__, os.O_RDONLY),
        lambda: os.open("/dev/zero", os.O_RDONLY),
        lambda: os.open("/proc/self/environ", os.O_RDONLY),
        lambda: os.open("/", os.O_RDONLY),
        partial(os.eventfd, 0),
        _pipe,
        _socket,
    ],
    ids=[
        "unsealed",
        "never",
        "file",
        "zero",
        "proc",
        "folder",
        "event",
        "pipe",
        "socket",
    ],
)
def test_nothing_but_a_sealed_memory_file_is_read(
    path: Path, make: Callable[[], int]
) -> None:
    descriptor = make()
    try:
        answer = served(path, lambda: _sent(path, descriptor))
    finally:
        os.close(descriptor)
    assert (answer["ok"], answer["exit_status"]) == (False, 2)
    assert answer["lines"] == ["it: is not a sealed memory file"]


def test_nor_a_larger_one_than_is_taken(path: Path) -> None:
    with pytest.raises(WrongUse, match="more than 1048576 bytes"):
        served(path, lambda: request(path, "preview", files=[bytes(2**20 + 1)]))


def test_what_is_sealed_stays_as_it_is() -> None:
    descriptor = sealed(CONTENT)
    try:
        for change in (
            lambda: os.ftruncate(descriptor, 1),
            lambda: os.ftruncate(descriptor, len(CONTENT) + 1),
            lambda: os.pwrite(descriptor, b"y", 0),
        ):
            with pytest.raises(PermissionError):
                change()
        assert content_of(descriptor, len(CONTENT), "it") == CONTENT
    finally:
        os.close(descriptor)


def _lingering(stack: contextlib.ExitStack) -> int:
    """A connection whose close waits for bytes that its other end does not take."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    one = socket.create_connection(listener.getsockname())
    stack.enter_context(listener.accept()[0])
    linger = struct.pack("ii", 1, LINGERING)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    one.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            one.send(bytes(1 << 16))
    return one.detach()


@pytest.mark.parametrize(
    ("count", "line"),
    [
        pytest.param(1, b'{"verb": "preview"}\n', id="taken"),
        pytest.param(MOST_FILES + 1, b'{"verb": "status"}\n', id="too many"),
        pytest.param(1, b'{"verb"', id="given up"),
    ],
)
def test_nobody_waits_for_what_is_slow_to_close(
    path: Path, count: int, line: bytes
) -> None:
    with contextlib.ExitStack() as stack:
        made = [_lingering(stack) for _ in range(count)]

        def ask() -> Any:
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(os.fspath(path))
                socket.send_fds(caller, [line], made)
                for one in made:  # no close waits but the last, the daemon's
                    os.close(one)
            return request(path, "status", timeout=PATIENCE)

        assert served(path, ask) == []
