# SPDX-License-Identifier: GPL-2.0-or-later
"""The control socket and its client, over real sockets in a temporary folder."""

import asyncio
import json
import logging
import os
import socket
import stat
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from vpngate.daemon.outside import control
from vpngate.daemon.outside.client import request
from vpngate.daemon.outside.control import ControlServer, VerbHandler
from vpngate.errors import (
    DaemonUnreachable,
    MachineFault,
    Problem,
    Refused,
    RegistryRefused,
    VpngateError,
    WrongUse,
)

T = TypeVar("T")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


async def status(_arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"mode": "observe", "flows": 3}


async def reload(arguments: Mapping[str, Any]) -> dict[str, Any]:
    if arguments.get("accept_removals"):
        return {"registry": "taken"}
    raise RegistryRefused(
        "removed_too_many", Problem("r.csv", "too many gone", "--accept-removals")
    )


async def broken(_arguments: Mapping[str, Any]) -> None:
    raise ZeroDivisionError("by nought")


VERBS: dict[str, VerbHandler] = {"status": status, "reload": reload, "broken": broken}


@asynccontextmanager
async def serving(path: Path, **options: Any) -> AsyncIterator[ControlServer]:
    server = ControlServer(path, options.pop("verbs", VERBS), **options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def served(path: Path, ask: Callable[[], T], **options: Any) -> T:
    """What a blocking `ask` gets from a server that runs meanwhile."""

    async def both() -> T:
        async with serving(path, **options):
            return await asyncio.to_thread(ask)

    return asyncio.run(both())


def raw(path: Path, sent: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(10)
        caller.connect(str(path))
        caller.sendall(sent)
        received = b""
        while piece := caller.recv(65536):
            received += piece
        return received


def test_a_verb_is_answered(path: Path) -> None:
    answer = served(path, lambda: request(path, "status"))
    assert answer == {"mode": "observe", "flows": 3}


def test_arguments_arrive(path: Path) -> None:
    taken = served(path, lambda: request(path, "reload", {"accept_removals": True}))
    assert taken == {"registry": "taken"}


def refusal(path: Path, verb: str) -> VpngateError:
    with pytest.raises(VpngateError) as caught:
        request(path, verb)
    return caught.value


def test_a_refusal_comes_back_in_the_daemons_words(path: Path) -> None:
    error = served(path, lambda: refusal(path, "reload"))
    assert isinstance(error, Refused)
    assert error.exit_status == 1
    assert error.lines == ["r.csv: too many gone; --accept-removals"]


def test_an_unknown_verb_is_wrong_use(path: Path) -> None:
    error = served(path, lambda: refusal(path, "dance"))
    assert isinstance(error, WrongUse)
    assert error.lines == ["dance: this daemon has no such verb"]


def test_a_broken_verb_does_not_take_the_daemon_with_it(path: Path) -> None:
    def ask() -> tuple[VpngateError, Any]:
        return refusal(path, "broken"), request(path, "status")

    error, state = served(path, ask)
    assert error.lines == ["the daemon failed: ZeroDivisionError: by nought"]
    assert state["mode"] == "observe"


def test_a_verb_added_later_is_served(path: Path) -> None:
    verbs = dict(VERBS)

    async def later(arguments: Mapping[str, Any]) -> Any:
        return arguments["n"]

    async def both() -> Any:
        async with serving(path, verbs=verbs):
            verbs["later"] = later
            return await asyncio.to_thread(request, path, "later", {"n": 7})

    assert asyncio.run(both()) == 7


def test_several_requests_on_one_connection(path: Path) -> None:
    line = b'{"verb": "status"}\n'

    def ask() -> list[bytes]:
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(10)
            caller.connect(str(path))
            caller.sendall(line + line)
            with caller.makefile("rb") as answers:
                return [answers.readline(), answers.readline()]

    one, other = served(path, ask)
    assert one == other
    assert json.loads(one) == {"ok": True, "result": {"mode": "observe", "flows": 3}}


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense\n",
        b"\n",
        b"[]\n",
        b'{"verb": 1}\n',
        b'{"arguments": {}}\n',
        b'{"verb": "status", "arguments": []}\n',
        b"\xff\xfe\n",
        b"[" * 50_000 + b"\n",
    ],
)
def test_what_is_no_request_is_refused(path: Path, line: bytes) -> None:
    def ask() -> bytes:
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(10)
            caller.connect(str(path))
            caller.sendall(line)
            return caller.makefile("rb").readline()

    answer = json.loads(served(path, ask))
    assert (answer["ok"], answer["exit_status"]) == (False, 2)
    assert "not one line of JSON" in answer["lines"][0]


def test_a_line_without_end_is_cut_off(path: Path) -> None:
    sent = b'{"verb": "' + b"a" * (control.REQUEST_LIMIT * 2)
    answer = json.loads(served(path, lambda: raw(path, sent)))
    assert answer["exit_status"] == 2


def test_a_caller_who_dawdles_is_hung_up_on(path: Path) -> None:
    assert served(path, lambda: raw(path, b'{"verb"'), patience=0.2) == b""


def test_a_caller_who_leaves_is_forgotten(path: Path) -> None:
    def ask() -> Any:
        for sent in (b"", b'{"ver', b'{"verb": "status"}\n'):
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(str(path))
                caller.sendall(sent)
        return request(path, "status")

    assert served(path, ask)["flows"] == 3


def test_changes_are_made_one_at_a_time_and_logged(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    under_way = 0
    most = 0

    async def change(_arguments: Mapping[str, Any]) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.05)
        under_way -= 1

    def ask() -> None:
        threads = [
            threading.Thread(target=request, args=(path, "change")) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        request(path, "status")

    with caplog.at_level(logging.INFO, "vpngate"):
        served(path, ask, verbs=VERBS | {"change": change})
    assert most == 1
    asked = [r.getMessage() for r in caplog.records]
    assert asked == [f"control: change {{}} asked by uid {os.getuid()}"] * 3


def test_rights_of_the_socket(path: Path) -> None:
    mode = served(path, lambda: path.stat().st_mode)
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660
    assert list(path.parent.iterdir()) == [], "the socket goes with the server"


def test_a_socket_left_behind_is_replaced(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.exists()
    assert served(path, lambda: request(path, "status"))["flows"] == 3


def test_a_live_daemon_is_not_replaced(path: Path) -> None:
    async def second() -> list[str]:
        async with serving(path):
            with pytest.raises(Refused) as caught:
                await ControlServer(path, {}).start()
            assert (await asyncio.to_thread(request, path, "status"))["flows"] == 3
            return caught.value.lines

    assert asyncio.run(second()) == [
        f"{path}: another daemon answers here; stop it, or use --socket"
    ]


def test_a_file_in_its_place_is_not_replaced(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(Refused, match="is not a socket"):
        asyncio.run(ControlServer(path, {}).start())
    assert path.read_text() == "mine"


def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for bad in (file / "control.sock", tmp_path / ("x" * 120)):
        with pytest.raises(MachineFault, match="cannot open the control socket") as no:
            asyncio.run(ControlServer(bad, {}).start())
        assert len(no.value.lines) == 1
    assert sorted(tmp_path.iterdir()) == [file]


def test_a_successors_socket_is_left_alone(path: Path) -> None:
    async def replaced() -> bool:
        server = ControlServer(path, VERBS)
        await server.start()
        path.unlink()
        async with serving(path):
            await server.stop()
            await server.stop()
            return path.exists()

    assert asyncio.run(replaced())


def test_stopping_hangs_up(path: Path) -> None:
    async def stopped() -> bytes:
        async with serving(path) as server:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b'{"verb": "status"}\n')
            await reader.readline()
            await server.stop()
            rest = await reader.read()
            writer.close()
            return rest

    assert asyncio.run(stopped()) == b""


def answering(path: Path, answer: bytes) -> threading.Thread:
    """Something else that answers one caller at `path`."""
    listener = socket.socket(socket.AF_UNIX)
    path.parent.mkdir(exist_ok=True)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        with listener:
            caller, _ = listener.accept()
            with caller:
                caller.recv(1000)
                if answer:
                    caller.sendall(answer)
                else:
                    caller.recv(1000)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def unreachable(path: Path, timeout: float = 10.0) -> str:
    with pytest.raises(DaemonUnreachable) as caught:
        request(path, "status", timeout=timeout)
    (line,) = caught.value.lines
    return line.removeprefix(f"{path}: ")


def test_nobody_there(path: Path, tmp_path: Path) -> None:
    assert unreachable(path) == "no daemon answers; is vpngate running?"
    assert unreachable(tmp_path / ("x" * 120)) == (
        "no daemon answers: AF_UNIX path too long"
    )


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400\r\n\r\n", b"[]\n", b"{}\n"])
def test_somebody_else_there(path: Path, answer: bytes) -> None:
    thread = answering(path, answer)
    assert unreachable(path) == "what answers here is no vpngate; check --socket"
    thread.join()


def test_no_answer_in_time(path: Path) -> None:
    thread = answering(path, b"")
    assert unreachable(path, timeout=0.2) == "no answer within 0.2 s; see its log"
    thread.join()


def test_no_permission(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert unreachable(path) == (
        "permission denied; run as root or in the group vpngate"
    )
