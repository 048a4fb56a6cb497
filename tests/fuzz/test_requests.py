# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests from strangers: over HTTP, and lines of the control socket."""

import asyncio
import json
import string
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutations import mutated
from vpngate.daemon.outside.control import ControlServer
from vpngate.http.exchange import BODY_LIMIT, Exchange
from vpngate.http.request_response import BadRequest, Request, Response

_IN_HOSTS = frozenset(string.ascii_lowercase + string.digits + "._~%-:")
_TOKENS = st.sampled_from(
    [
        b"GET", b"POST", b"CONNECT", b" ", b"/", b"*", b"?", b"http://", b"HTTP/1.1",
        b"HTTP/1.0", b"HTTP/2.0", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b":", b"Host: a",
        b"Host: [::1]:80", b"Content-Length: 5", b"Content-Length: -1",
        b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"Upgrade: h2c",
        b"Connection: Upgrade", b"5\r\nabcde\r\n", b"0\r\n\r\n", b"FFFFFFFF", b";",
        b"\0", b"\xff", b"%00", b"\t", b"a" * 5000,
    ]
)  # fmt: skip
_SOUND_REQUESTS = [
    (
        b"GET /metrics?name=a HTTP/1.1\r\nHost: gateway:9100\r\nAccept: */*\r\n"
        b"Accept: text/plain\r\n\r\n"
    ),
    (
        b"GET http://gateway/ HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\n"
        b"Upgrade: h2c\r\n\r\n"
    ),
    (
        b"POST /lookup HTTP/1.0\r\nContent-Length: 17\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\naddress=192.0.2.1"
    ),
    (
        b"POST /lookup HTTP/1.1\r\nHost: gateway\r\nExpect: 100-continue\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nabcde\r\n0\r\nA: b\r\n\r\n"
    ),
]
_REQUESTS = (
    st.binary(max_size=300)
    | st.lists(_TOKENS, max_size=40).map(b"".join)
    | mutated(_SOUND_REQUESTS)
)

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
_SOUND_LINES = [
    b'{"verb": "echo", "arguments": {"accept_removals": true, "of": ["a", 1e3]}}',
    b'{"verb": "reload"}',
]
_LINES = (
    st.binary(max_size=300)
    | mutated(_SOUND_LINES)
    | st.sampled_from([b"[" * 60_000, b'{"verb":' * 8_000, b'{"verb": ' + b"9" * 5_000])
    | _JSON.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries({"verb": _JSON, "arguments": _JSON}).map(
        lambda value: json.dumps(value).encode()
    )
)


def _outcome(pieces: Sequence[bytes]) -> tuple[Request | HTTPStatus | None, bytes]:
    """What a request that comes in pieces is taken for, and the answer it gets."""
    exchange = Exchange("192.0.2.1")
    outcome: Request | HTTPStatus | None = None
    try:
        for piece in pieces:
            outcome = exchange.receive(piece)
            if outcome is not None:
                break
    except BadRequest as bad:
        outcome = bad.status
    return outcome, exchange.answer(Response.text(HTTPStatus.OK, "fine"))


@given(_REQUESTS, st.lists(st.integers(0, 400), max_size=8))
def test_bytes_are_a_request_or_refused_however_they_come(
    data: bytes, cuts: list[int]
) -> None:
    outcome, answer = _outcome([data])
    if isinstance(outcome, Request):
        assert outcome.path.startswith("/")
        assert len(outcome.body) <= BODY_LIMIT
        assert not set("\r\n\0\x1b") & set("".join(outcome.headers.values()))
        assert set(outcome.host) <= _IN_HOSTS
    elif outcome is not None:
        assert outcome >= HTTPStatus.BAD_REQUEST
    # Whatever came, there is an answer to it, and it is one.
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.count(b"\r\n\r\n") == 1
    ends = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[i:j] for i, j in pairwise(ends)]
    assert _outcome(pieces)[0] == outcome


async def _echo(arguments: Mapping[str, Any]) -> Any:
    return dict(arguments)


@given(_LINES)
def test_a_line_is_answered_whatever_it_is(line: bytes) -> None:
    server = ControlServer("/nonexistent", {"echo": _echo}, read_only=("echo",))
    answer = asyncio.run(server._answer(line, 0))
    assert answer["ok"] in (True, False)
    if not answer["ok"]:
        # A request that is wrong is told so; it never looks like a fault of ours.
        assert answer["exit_status"] == 2
        assert all(line.splitlines() == [line] for line in answer["lines"])
    json.dumps(answer)
