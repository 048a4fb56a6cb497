# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory files beside a request, and everything else that a caller might send there."""

import asyncio
import json
import os
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from vpngate.daemon.outside import handed_over
from vpngate.daemon.outside.client import request
from vpngate.daemon.outside.control import ControlServer
from vpngate.daemon.outside.handed_over import FILES, MOST_FILES, content_of, sealed
from vpngate.errors import WrongUse

T = TypeVar("T")
CONTENT = os.urandom(300_000)  # more than a socket's buffer


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
            for _ in range(200):  # a connection's end is noticed in its turn
                if _open() <= before:
                    break
                await asyncio.sleep(0.01)
            assert _open() <= before
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
        handed_over.close_all(files)
    assert len(answer["result"]) == MOST_FILES


def test_who_goes_away_in_the_middle_leaves_nothing_open(path: Path) -> None:
    files = [sealed(b"x") for _ in range(MOST_FILES)]
    try:
        for _ in range(5):
            assert served(path, lambda: _sent(path, *files, line=b'{"verb"')) is None
    finally:
        handed_over.close_all(files)


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
