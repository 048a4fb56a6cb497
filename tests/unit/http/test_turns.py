# SPDX-License-Identifier: GPL-2.0-or-later
"""Who asks while there is no room for an answer waits for its turn, and how long.

Knows the server by its socket, and that it can be held up: what has come then is there
all at once, as on a machine that had other things to do.
"""

import asyncio
import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from vpngate.http import HttpServer, Request, Response
from vpngate.http import server as limits

Caller = socket.socket

WAITING, ANSWERING = 16, 4
# Of the loop. In one it accepts all who have come, and in the next it reads what they
# ask: they are all there before the first is answered.
ROUNDS = 10


async def shared(_request: Request) -> Response:
    """As an answer that many wait for, since it is read for all of them at once."""
    for _ in range(ROUNDS):
        await asyncio.sleep(0)
    return Response(HTTPStatus.OK, b"served")


async def never(_request: Request) -> Response:
    await asyncio.Event().wait()
    raise AssertionError


async def at_once(_request: Request) -> Response:
    return Response(HTTPStatus.OK, b"served")


@pytest.fixture
def server() -> Iterator[HttpServer]:
    pages = {"/shared": shared, "/never": never, "/": at_once}
    routes = {("GET", path): page for path, page in pages.items()}
    server = HttpServer("127.0.0.1", 0, routes, waiting=WAITING, answering=ANSWERING)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def held_up(server: HttpServer) -> Iterator[None]:
    """Its loop does nothing meanwhile."""
    assert server._loop
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        go_on.wait(10)

    server._loop.call_soon_threadsafe(hold)
    assert held.wait(10)
    try:
        yield
    finally:
        go_on.set()


def caller(server: HttpServer, path: str = "", source: str = "127.0.0.1") -> Caller:
    made = socket.create_connection(("127.0.0.1", server.port), 10, (source, 0))
    made.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() if path else b"GET")
    return made


def status(one: Caller) -> int | None:
    """What it is told; None if its connection has ended without a word."""
    with one, contextlib.suppress(ConnectionResetError):
        answer = b"".join(iter(lambda: one.recv(65536), b""))
        return int(answer.split()[1]) if answer else None
    return None


def said(callers: list[Caller]) -> Counter[int | None]:
    return Counter(map(status, callers))


def settled(server: HttpServer) -> None:
    """All that has come is read: in as many rounds as that takes."""
    with held_up(server):
        pass
    for _ in range(ROUNDS):
        with held_up(server):
            pass


def test_all_that_came_while_it_was_held_up_are_served(server: HttpServer) -> None:
    """And not told to come back, since answers that many share end in a moment."""
    settled(server)  # the kernel's queue has its length
    with held_up(server):
        callers = [caller(server, "/shared") for _ in range(WAITING)]
    assert said(callers) == {200: WAITING}
    assert status(caller(server, "/")) == 200


def test_there_are_places_for_all_that_the_kernel_holds() -> None:
    assert limits.WAITING_LIMIT + limits.ANSWERING_LIMIT >= limits.BACKLOG


def test_beyond_its_place_the_first_in_turn_comes_back(server: HttpServer) -> None:
    """With an answer that says so; nobody who has not asked yet is interrupted."""
    for_ever = [caller(server, "/never") for _ in range(ANSWERING)]
    settled(server)
    asking = caller(server)
    settled(server)
    in_turn = [caller(server, "/never") for _ in range(WAITING - 1)]
    settled(server)
    beyond = caller(server, "/never")
    first, *others = in_turn
    assert status(first) == 503
    asking.sendall(b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert said([asking, beyond, *others]) == {503: WAITING}
    for one in for_ever:
        one.close()


def test_who_waits_for_an_answer_that_does_not_come_is_told(server: HttpServer) -> None:
    for_ever = [caller(server, "/never") for _ in range(ANSWERING)]
    settled(server)
    assert said([caller(server, "/") for _ in range(3)]) == {503: 3}
    # Another peer has its share all the same.
    assert status(caller(server, "/", source="127.0.0.2")) == 200
    for one in for_ever:
        one.close()


def test_who_has_gone_while_it_waited_takes_nobodys_turn(server: HttpServer) -> None:
    with held_up(server):
        gone = [caller(server, "/shared") for _ in range(WAITING)]
    for one in gone:
        one.close()
    settled(server)
    with held_up(server):
        callers = [caller(server, "/shared") for _ in range(WAITING)]
    assert said(callers) == {200: WAITING}


def test_a_stop_waits_for_nobodys_turn(server: HttpServer) -> None:
    waiting = [caller(server, "/never") for _ in range(WAITING)]
    settled(server)
    server.stop()
    assert said(waiting) == {None: WAITING}
    assert not [t for t in threading.enumerate() if t.name == "http"]
