# SPDX-License-Identifier: GPL-2.0-or-later
"""The HTTP server on loopback: answers, limits, callers who dawdle.

Knows the server from outside, by its socket.
"""

import asyncio
import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse

import pytest

from vpngate.errors import MachineFault
from vpngate.http import HttpServer, Request, Response, health_page, metrics_page
from vpngate.http.connection import STALL
from vpngate.http.hosts import anything
from vpngate.http.pages import FORMS
from vpngate.http.routing import Routing

LARGE = b"x" * 3_000_000


async def echo(request: Request) -> Response:
    return Response(HTTPStatus.OK, request.body or request.query.encode())


async def large(_request: Request) -> Response:
    return Response(HTTPStatus.OK, LARGE)


async def broken(_request: Request) -> Response:
    raise RuntimeError("a page that fails")


class Health:
    def __init__(self) -> None:
        self.reasons: list[str] = []


@contextlib.contextmanager
def serving(**limits: float) -> Iterator[HttpServer]:
    server = HttpServer(
        "127.0.0.1",
        0,
        {
            ("GET", "/echo"): echo,
            ("POST", "/echo"): echo,
            ("GET", "/large"): large,
            ("GET", "/broken"): broken,
        },
        **limits,  # type: ignore[arg-type]
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with serving() as server:
        yield server


def ask(
    server: HttpServer,
    method: str,
    path: str,
    body: bytes | None = None,
    **headers: str,
) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer, answer.read()


def raw(server: HttpServer, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as caller:
        caller.sendall(request)
        with caller.makefile("rb") as answer:
            return answer.read()


def test_answers_and_closes(server: HttpServer) -> None:
    answer, body = ask(server, "GET", "/echo?a=1")
    assert (answer.status, body) == (200, b"a=1")
    assert answer.getheader("Connection") == "close"
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert answer.getheader("Server") is None


def test_head_has_the_length_and_no_body(server: HttpServer) -> None:
    answer, body = ask(server, "HEAD", "/large")
    assert (answer.getheader("Content-Length"), body) == (str(len(LARGE)), b"")


def test_a_large_answer_arrives_whole(server: HttpServer) -> None:
    assert ask(server, "GET", "/large")[1] == LARGE


def test_post_brings_its_body(server: HttpServer) -> None:
    assert ask(server, "POST", "/echo", b"address=192.0.2.1")[1] == b"address=192.0.2.1"


def test_unknown_paths_and_methods(server: HttpServer) -> None:
    assert ask(server, "GET", "/nothing")[0].status == 404
    answer, _ = ask(server, "DELETE", "/echo")
    assert (answer.status, answer.getheader("Allow")) == (405, "GET, HEAD, POST")


def test_a_broken_page_is_an_error_and_no_more(
    server: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        answer, body = ask(server, "GET", "/broken")
        assert (answer.status, body) == (500, b"internal error\n")
    (told,) = caplog.records  # anybody may ask, and the log is not theirs
    assert re.fullmatch(
        r"http: the page /broken failed: \w+ at .*test_server.py:\d+ < .*",
        told.getMessage(),
    )
    assert "a page that fails" not in caplog.text  # it may quote what was asked
    assert ask(server, "GET", "/echo")[0].status == 200


def test_a_page_that_goes_on_failing_is_told_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    routing = Routing({("GET", "/broken"): broken}, anything, tell_every=0.3)
    request = Request("GET", "/broken", "", {})
    for pause in (0.0, 0.0, 0.3):
        time.sleep(pause)
        asyncio.run(routing.respond(request))
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("http: the page /broken failed: ")
    more = "http: the page /broken failed (1 more since this was last told): "
    assert second.startswith(more)


def test_a_page_that_waits_in_vain_is_busy_and_not_broken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def never(_request: Request) -> Response:
        raise TimeoutError

    routing = Routing({("GET", "/"): never}, anything)
    answer = asyncio.run(routing.respond(Request("GET", "/", "", {})))
    assert (answer.status, dict(answer.headers)) == (503, {"Retry-After": "1"})
    assert caplog.records == []


def test_a_caller_who_leaves_early_is_forgotten(server: HttpServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as caller:
        caller.sendall(b"GET /echo HT")
    with socket.create_connection(("127.0.0.1", server.port)) as caller:
        caller.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
    assert ask(server, "GET", "/echo?still=here")[1] == b"still=here"


def test_slow_callers_keep_nobody_out() -> None:
    with serving(waiting=8) as server, contextlib.ExitStack() as stack:
        for _ in range(24):
            slow = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            stack.enter_context(slow)
            slow.sendall(b"GET /echo HTTP/1.1\r\nX-Slow: ")
        assert ask(server, "GET", "/echo?in=time")[1] == b"in=time"


def taking_slowly(server: HttpServer, source: str = "127.0.0.1") -> socket.socket:
    """A caller whose answer has begun, and who takes no more of it for now."""
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.settimeout(10)
    caller.bind((source, 0))
    caller.connect(("127.0.0.1", server.port))
    caller.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
    assert caller.recv(8) == b"HTTP/1.1"
    return caller


def test_busy_callers_are_not_interrupted() -> None:
    with serving(answering=2) as server, contextlib.ExitStack() as stack:
        busy = [stack.enter_context(taking_slowly(server)) for _ in range(2)]
        answer, _ = ask(server, "GET", "/echo")
        assert (answer.status, answer.getheader("Retry-After")) == (503, "1")
        for caller in busy:
            with caller.makefile("rb") as rest:
                assert rest.read().endswith(LARGE[-1000:])
        assert ask(server, "GET", "/echo")[0].status == 200


def test_who_does_not_take_the_answer_makes_room() -> None:
    with serving(answering=2) as server, contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(taking_slowly(server))
        time.sleep(STALL + 0.1)
        assert ask(server, "GET", "/echo?in=time")[1] == b"in=time"


def test_another_peer_has_its_share_at_once() -> None:
    with serving(answering=3) as server, contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(taking_slowly(server, "127.0.0.2"))
        assert ask(server, "GET", "/echo?in=time")[1] == b"in=time"


def test_a_request_has_to_arrive_in_time() -> None:
    with (
        serving(patience=0.2) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as slow,
    ):
        slow.sendall(b"GET /echo HTTP/1.1\r\n")
        assert slow.recv(100) == b""


def test_who_calls_when_nobody_is_there_has_to_be_in_time_too() -> None:
    """The server sleeps for as long as nobody is: again and again, at any moment."""
    with serving(patience=0.2) as server:
        for pause in (0.0, 0.01, 0.02, 0.03, 0.05, 0.3):
            time.sleep(pause)
            address = ("127.0.0.1", server.port)
            with (
                socket.create_connection(address, timeout=60) as slow,
                contextlib.suppress(ConnectionResetError),
            ):
                assert slow.recv(1) == b""
            assert ask(server, "GET", "/echo?a")[0].status == HTTPStatus.OK


def test_an_answer_has_to_be_taken_in_time() -> None:
    with serving(patience=0.3) as server, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", server.port))
        slow.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(1.0)
        taken = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := slow.recv(65536):
                taken += len(piece)
        assert taken < len(LARGE)


def test_stop_closes_and_frees_the_port() -> None:
    with serving() as server:
        port = server.port
        waiting = socket.create_connection(("127.0.0.1", port), timeout=10)
    with waiting:
        assert waiting.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert not [t for t in threading.enumerate() if t.name == "http"]
    server.stop()  # a second time is harmless


def test_a_taken_port_is_one_clear_line(server: HttpServer) -> None:
    with pytest.raises(MachineFault) as caught:
        HttpServer("127.0.0.1", server.port, {}).start()
    (line,) = caught.value.lines
    assert line == (
        f"http.listen 127.0.0.1 port {server.port}: cannot listen: Address already in"
        " use; choose another address, or stop what listens there"
    )


def test_ipv6() -> None:
    server = HttpServer("::1", 0, {("GET", "/echo"): echo})
    server.start()
    try:
        connection = HTTPConnection("::1", server.port, timeout=10)
        connection.request("GET", "/echo?v6")
        assert connection.getresponse().read() == b"v6"
        connection.close()
    finally:
        server.stop()


def test_health_and_metrics() -> None:
    health = Health()
    numbers = {"refreshed": 0}

    async def refresh() -> None:
        numbers["refreshed"] += 1
        if numbers["refreshed"] > 1:
            raise RuntimeError("the kernel does not answer")

    def exposition(accept: str) -> tuple[bytes, str]:
        return f"{accept} {numbers['refreshed']}".encode(), "text/plain; version=1"

    server = HttpServer(
        "127.0.0.1",
        0,
        {
            ("GET", "/healthz"): health_page(lambda: health.reasons),
            ("GET", "/metrics"): metrics_page(exposition, refresh),
            ("GET", "/plain"): metrics_page(exposition),
        },
    )
    server.start()
    try:
        answer, body = ask(server, "GET", "/healthz")
        assert (answer.status, body) == (200, b"ok\n")
        health.reasons = ["capture is silent", "registry is old"]
        answer, body = ask(server, "GET", "/healthz")
        assert (answer.status, body) == (503, b"capture is silent\nregistry is old\n")
        answer, body = ask(server, "GET", "/metrics", Accept="text/plain")
        assert answer.getheader("Content-Type") == "text/plain; version=1"
        assert body == b"text/plain 1"
        # A refresh that fails leaves the numbers as they are.
        assert ask(server, "GET", "/metrics", Accept="a")[1] == b"a 2"
        assert ask(server, "GET", "/plain", Accept="a")[1] == b"a 2"
    finally:
        server.stop()


def test_callers_who_want_it_in_ever_other_forms_cost_few() -> None:
    made: list[str] = []

    def exposition(accept: str) -> tuple[bytes, str]:
        made.append(accept)
        return accept.encode(), "text/plain; version=1"

    async def run() -> list[Response]:
        page = metrics_page(exposition)
        each = (
            page(Request("GET", "/metrics", "", {"accept": f"text/plain;q=0.{n}"}))
            for n in range(500)
        )
        return await asyncio.gather(*each)

    answers = asyncio.run(run())
    assert len(made) <= FORMS + 1  # and the plain one for everybody else
    assert answers[0].body == b"text/plain;q=0.0"
    assert answers[-1].body == b""


@pytest.mark.parametrize("path", ["/large", "/echo?a"])
def test_who_closes_its_half_still_has_the_answer(
    server: HttpServer, path: str
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as caller:
        caller.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        caller.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: caller.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == (LARGE if path == "/large" else b"a")


def test_who_closes_its_half_of_a_request_is_not_waited_for(server: HttpServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as caller:
        caller.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\n")
        caller.shutdown(socket.SHUT_WR)
        assert caller.recv(1) == b""
