# SPDX-License-Identifier: GPL-2.0-or-later
"""Hostile requests, a row each: what comes back, from the running server.

Knows the wire and the outcomes that are promised; does not know how they come about.
Each row also holds that the server goes on: an honest request is answered after it.
"""

import contextlib
import socket
from collections.abc import Iterator
from http import HTTPStatus
from typing import NamedTuple

import pytest

from vpngate.http import HttpServer, Request, Response
from vpngate.http.exchange import BODY_LIMIT, HEAD_LIMIT, HEADER_LIMIT

GET = b"GET /page HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /page HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"


class Case(NamedTuple):
    name: str
    sent: bytes
    status: int | None  # None: no answer, the connection ends
    body: bytes | None = None


CASES = [
    # Request lines.
    Case("plain", GET + b"\r\n", 200, b"GET /page  a"),
    Case("1.0 without a host", b"GET /page HTTP/1.0\r\n\r\n", 200, b"GET /page  "),
    Case("1.1 without a host", b"GET /page HTTP/1.1\r\n\r\n", 400),
    Case("two hosts", GET + b"Host: b\r\n\r\n", 400),
    Case("host with a user", b"GET /page HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    Case("host with a path", b"GET /page HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    Case("IPv6 host", b"GET /page HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200,
         b"GET /page  ::1"),
    Case("nonsense", b"nonsense\r\n\r\n", 400),
    Case("nothing but line ends", b"\r\n\r\n\r\n", 400),
    Case("nothing", b"", None),
    Case("half a head", GET, None),
    Case("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40, 400),
    Case("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    Case("HTTP/3.0", b"GET /page HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    Case("HTTP/0.9", b"GET /page\r\n\r\n", 400),
    Case("HTTP/1.9", b"GET /page HTTP/1.9\r\nHost: a\r\n\r\n", 200),
    Case("lower case protocol", b"GET /page http/1.1\r\nHost: a\r\n\r\n", 400),
    Case("two blanks", b"GET  /page HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    Case("tab", b"GET\t/page HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    Case("leading line end", b"\r\n" + GET + b"\r\n", 400),
    Case("no slash", b"GET page HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    Case("asterisk", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    Case("CONNECT", b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", 400),
    Case("TRACE", b"TRACE /page HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    Case("odd method", b"G!T /page HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    Case("long method", b"G" * 5000 + b" /page HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    Case("another path", b"GET /pages HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    Case("dots", b"GET /../page HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    Case("percent NUL", b"GET /page%00 HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    Case("two slashes", b"GET //page HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    Case("beyond ASCII", b"GET /p\xc3\xa4ge HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    Case("NUL in the path", b"GET /page\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    Case("escape in the path", b"GET /\x1b[2J HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    # Absolute form: what it names is asked for (RFC 9112, 3.2.2).
    Case("absolute", b"GET http://b:80/page?q HTTP/1.1\r\nHost: a\r\n\r\n", 200,
         b"GET /page q b"),
    Case("absolute, no path", b"GET http://b HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    Case("absolute, query", b"GET http://b?q HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    Case("absolute, user", b"GET http://u@b/page HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    Case("absolute, other", b"GET file:///page HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    # Line ends and header fields.
    Case("bare line feeds", b"GET /page HTTP/1.1\nHost: a\n\n", 200),
    Case("bare returns", b"GET /page HTTP/1.1\rHost: a\r\r", None),
    Case("return in a value", GET + b"A: b\rC: d\r\n\r\n", 400),
    Case("NUL in a value", GET + b"A: b\0c\r\n\r\n", 400),
    Case("NUL in a name", GET + b"A\0: b\r\n\r\n", 400),
    Case("escape in a value", GET + b"A: \x1b[31m\r\n\r\n", 400),
    Case("DEL in a value", GET + b"A: \x7f\r\n\r\n", 400),
    Case("tab in a value", GET + b"A: b\tc\r\n\r\n", 200),
    Case("vertical tab", GET + b"A: b\x0bc\r\n\r\n", 400),
    Case("beyond ASCII in a value", GET + b"A: \xff\xfe\xc3\r\n\r\n", 200),
    Case("beyond ASCII in a name", GET + b"\xc3\xa4: b\r\n\r\n", 400),
    Case("blank before the colon", GET + b"A : b\r\n\r\n", 400),
    Case("no colon", GET + b"Alone\r\n\r\n", 400),
    Case("no name", GET + b": b\r\n\r\n", 400),
    Case("folded", GET + b"A: b\r\n folded\r\n\r\n", 200),
    Case("folded first", b"GET /page HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    Case("most fields", GET + b"A: b\r\n" * (HEADER_LIMIT - 1) + b"\r\n", 200),
    Case("too many fields", GET + b"A: b\r\n" * HEADER_LIMIT + b"\r\n", 431),
    Case("largest head", GET + b"A: " + b"a" * (HEAD_LIMIT - len(GET) - 7)
         + b"\r\n\r\n", 200),
    Case("too large by one", GET + b"A: " + b"a" * (HEAD_LIMIT - len(GET) - 6)
         + b"\r\n\r\n", 431),
    Case("head of 900 kB", GET + b"A: " + b"a" * 900_000 + b"\r\n\r\n", 431),
    Case("900 kB of no line end", b"G" * 900_000, 431),
    Case("900 kB of fields", GET + b"A: b\r\n" * 150_000, 431),
    # Bodies.
    Case("body", POST + b"Content-Length: 3\r\n\r\nabc", 200, b"POST /page  aabc"),
    Case("body of a GET", GET + b"Content-Length: 3\r\n\r\nabc", 200),
    Case("no length", POST + b"\r\nabc", 200, b"POST /page  a"),
    Case("largest body", POST + b"Content-Length: %d\r\n\r\n" % BODY_LIMIT
         + b"a" * BODY_LIMIT, 200),
    Case("too large", POST + b"Content-Length: %d\r\n\r\n" % (BODY_LIMIT + 1), 413),
    Case("10 digits", POST + b"Content-Length: 9999999999\r\n\r\n", 413),
    Case("5,000 digits", POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
    Case("negative", POST + b"Content-Length: -1\r\n\r\n", 400),
    Case("plus", POST + b"Content-Length: +1\r\n\r\na", 400),
    Case("other digits", POST + b"Content-Length: \xb2\r\n\r\n", 400),
    Case("two lengths",
         POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    Case("short body", POST + b"Content-Length: 9\r\n\r\nabc", None),
    Case("chunked", CHUNKED + b"\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n", 200,
         b"POST /page  aabc"),
    Case("chunked with a trailer", CHUNKED + b"\r\n1\r\na\r\n0\r\nT: u\r\n\r\n", 200,
         b"POST /page  aa"),
    Case("chunks too large", CHUNKED + b"\r\nFFFF\r\n" + b"a" * 0xFFFF, 413),
    Case("chunks of one byte", CHUNKED + b"\r\n" + b"1\r\na\r\n" * 20_000, 413),
    Case("endless extensions", CHUNKED + b"\r\n" + (b"1;" + b"x" * 6000 + b"\r\na\r\n")
         * 100, 413),
    Case("one endless extension", CHUNKED + b"\r\n1;" + b"x" * 900_000, 431),
    Case("endless trailer", CHUNKED + b"\r\n0\r\n" + b"T: u\r\n" * 100_000, 431),
    Case("chunk of 21 digits", CHUNKED + b"\r\n" + b"F" * 21 + b"\r\n", 400),
    Case("chunk of no digits", CHUNKED + b"\r\nxyz\r\n", 400),
    Case("negative chunk", CHUNKED + b"\r\n-1\r\n", 400),
    Case("chunk too long", CHUNKED + b"\r\n1\r\nab\r\n0\r\n\r\n", 400),
    Case("chunked and a length",
         CHUNKED + b"Content-Length: 4\r\n\r\n1\r\na\r\n0\r\n\r\n", 400),
    Case("gzip coding", POST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    Case("gzip, chunked", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    # Expectations and other protocols.
    Case("expect", POST + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n", 100),
    Case("expect, too large",
         POST + b"Expect: 100-continue\r\nContent-Length: 99999\r\n\r\n", 413),
    Case("expect something else", POST + b"Expect: tea\r\n\r\n", 417),
    Case("upgrade", GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 200),
    Case("h2c", GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
         b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", 200),
    # What stands behind a request is not looked at.
    Case("pipelined", (GET + b"\r\n") * 3, 200, b"GET /page  a"),
    Case("pipelined nonsense", GET + b"\r\n" + b"\0" * 50_000, 200, b"GET /page  a"),
    Case("keep-alive", GET + b"Connection: keep-alive\r\n\r\n", 200),
]  # fmt: skip


async def page(request: Request) -> Response:
    text = f"{request.method} {request.path} {request.query} {request.host}"
    return Response(HTTPStatus.OK, text.encode() + request.body)


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    routes = {("GET", "/page"): page, ("POST", "/page"): page}
    server = HttpServer("127.0.0.1", 0, routes)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def answers(server: HttpServer, *pieces: bytes) -> list[bytes]:
    """Each answer that comes back, up to the end, after all has been sent."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as caller:
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            caller.sendall(piece)
        caller.shutdown(socket.SHUT_WR)
        with caller.makefile("rb") as answer:
            read = answer.read()
    parts = read.split(b"HTTP/1.1 ")
    assert parts[0] == b""
    return parts[1:]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_has_its_answer_and_the_server_goes_on(
    server: HttpServer, case: Case
) -> None:
    got = answers(server, case.sent)
    if case.status is None:
        assert got == []
    else:
        (answer,) = got  # one request, one answer
        head, _, body = answer.partition(b"\r\n\r\n")
        assert int(head[:3]) == case.status
        assert case.status == HTTPStatus.CONTINUE or b"Connection: close" in head
        assert case.body in (None, body)
    assert answers(server, GET + b"\r\n")[0].startswith(b"200 ")


@pytest.mark.parametrize(
    "case", [c for c in CASES if len(c.sent) < 400], ids=lambda case: case.name
)
def test_the_answer_is_the_same_byte_by_byte(server: HttpServer, case: Case) -> None:
    pieces = [case.sent[i : i + 1] for i in range(len(case.sent))]
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        got = answers(server, *pieces)
        expected = [] if case.status is None else [case.status]
        assert [int(answer[:3]) for answer in got] == expected


def test_who_waits_to_be_asked_for_the_body_is_asked(server: HttpServer) -> None:
    head = POST + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as caller:
        caller.sendall(head)
        with caller.makefile("rb") as answer:
            assert answer.readline() == b"HTTP/1.1 100 Continue\r\n"
            assert answer.readline() == b"\r\n"
            caller.sendall(b"x")
            assert answer.read().startswith(b"HTTP/1.1 200 OK\r\n")


def test_who_goes_on_talking_after_the_answer_is_not_listened_to_for_ever(
    server: HttpServer,
) -> None:
    # Behind the first answer, much more than is read and forgotten.
    sent = 0
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as caller,
        contextlib.suppress(BrokenPipeError, ConnectionResetError),
    ):
        while sent < 100_000_000:
            sent += caller.send(b"a" * 65536)
    assert sent < 100_000_000
