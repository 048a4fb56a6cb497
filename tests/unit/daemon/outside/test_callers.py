# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may ask how much at once, and what an argument may be."""

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from vpngate.daemon.outside import callers
from vpngate.daemon.outside.client import request
from vpngate.daemon.outside.control import ControlServer, flags
from vpngate.errors import DaemonBusy, WrongUse


async def status(_arguments: Mapping[str, Any]) -> str:
    return "here"


async def serve(
    path: Path,
    others: int,
    sent: bytes,
    verbs: Any,
    in_hand: Callable[[], int] | None = None,
) -> Any:
    """What one more caller gets while so many are connected and sent something.

    `in_hand` tells how many of them are being answered: all, before and after.
    """
    server = ControlServer(path, verbs)
    await server.start()
    with ExitStack() as stack:
        for _ in range(others):
            caller = stack.enter_context(socket.socket(socket.AF_UNIX))
            caller.connect(str(path))
            caller.sendall(sent)
            await asyncio.sleep(0)
        await asyncio.sleep(0.2)
        try:
            async with asyncio.timeout(60):
                while in_hand is not None and in_hand() < others:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            return await asyncio.to_thread(request, path, "status")
        finally:
            assert in_hand is None or in_hand() == others
            await server.stop()


@pytest.mark.parametrize("sent", [b"", b'{"verb": "sta'])
@pytest.mark.parametrize("limit", ["UID_SHARE", "CONNECTION_LIMIT"])
def test_who_says_nothing_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes, limit: str
) -> None:
    monkeypatch.setattr(callers, limit, 4)
    path = tmp_path / "control.sock"
    assert asyncio.run(serve(path, 12, sent, {"status": status})) == "here"


@pytest.mark.parametrize("limit", ["UID_SHARE", "CONNECTION_LIMIT"])
def test_who_is_answered_is_not_interrupted_and_others_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(callers, limit, 4)
    in_hand = 0

    async def slow(_arguments: Mapping[str, Any]) -> None:
        nonlocal in_hand
        in_hand += 1
        try:
            await asyncio.sleep(600)
        finally:
            in_hand -= 1

    async def status(_arguments: Mapping[str, Any]) -> None:
        raise AssertionError("there was no room for it")

    async def scenario() -> None:
        verbs = {"status": status, "reload": slow}
        path = tmp_path / "control.sock"
        with pytest.raises(DaemonBusy, match="busy: too many callers") as caught:
            await serve(path, 4, b'{"verb": "reload"}\n', verbs, lambda: in_hand)
        assert caught.value.exit_status == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("limit", ["UID_SHARE", "CONNECTION_LIMIT"])
def test_what_is_urgent_finds_a_place_among_those_who_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """Also where others hold the places that are kept for it, and say nothing."""
    monkeypatch.setattr(callers, limit, 4)
    in_hand = 0

    async def slow(_arguments: Mapping[str, Any]) -> None:
        nonlocal in_hand
        in_hand += 1
        await asyncio.sleep(600)

    async def observe(_arguments: Mapping[str, Any]) -> str:
        return "observing"

    async def scenario() -> None:
        path = tmp_path / "control.sock"
        server = ControlServer(path, {"reload": slow, "observe": observe})
        await server.start()
        with ExitStack() as stack:
            for number in range(4 + 3 * callers.URGENT_LIMIT):
                caller = stack.enter_context(socket.socket(socket.AF_UNIX))
                caller.connect(str(path))
                if number < 4:
                    caller.sendall(b'{"verb": "reload"}\n')
                async with asyncio.timeout(60):
                    while in_hand < min(number + 1, 4):  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
            asked = asyncio.to_thread(request, path, "observe")
            assert await asked == "observing"
            with pytest.raises(DaemonBusy):
                await asyncio.to_thread(request, path, "reload")
        await server.stop()

    asyncio.run(scenario())


def test_a_place_is_free_again_after_its_caller(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = ControlServer(tmp_path / "c", {"status": status})
        await server.start()
        for _ in range(3 * callers.CONNECTION_LIMIT):
            assert await asyncio.to_thread(request, tmp_path / "c", "status") == "here"
        await server.stop()

    asyncio.run(scenario())


def test_arguments_are_what_a_verb_takes() -> None:
    assert flags({}, "a") == frozenset()
    assert flags({"a": True, "b": False}, "a", "b", "c") == {"a"}
    wrong: list[object] = ["false", 1, 0, None, [], {"a": True}]
    for value in wrong:
        with pytest.raises(WrongUse, match="a: is neither true nor false"):
            flags({"a": value}, "a")
    with pytest.raises(WrongUse, match="is no argument of this verb"):
        flags({"accept_everything": True}, "accept_removals")
