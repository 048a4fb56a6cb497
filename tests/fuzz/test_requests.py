# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests from strangers: HTTP heads, and lines of the control socket."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutations import mutated
from vpngate.daemon.control import ControlServer
from vpngate.http.messages import BadRequest, Request, body_size, parse_head

_TOKENS = st.sampled_from(
    [
        b"GET", b"POST", b" ", b"/", b"?", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\n",
        b"\r", b":", b"Host: a", b"Content-Length: 5", b"Content-Length: -1",
        b"Transfer-Encoding: chunked", b"\0", b"\xff", b"%00", b"\t",
    ]
)  # fmt: skip
_SOUND_HEADS = [
    (
        b"GET /metrics?name=a HTTP/1.1\r\nHost: gateway:9100\r\nAccept: */*\r\n"
        b"Accept: text/plain"
    ),
    (
        b"POST /lookup HTTP/1.0\r\nContent-Length: 17\r\n"
        b"Content-Type: application/x-www-form-urlencoded"
    ),
]
_HEADS = (
    st.binary(max_size=300)
    | st.lists(_TOKENS, max_size=40).map(b"".join)
    | mutated(_SOUND_HEADS)
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


def _parsed(head: bytes) -> Request | None:
    try:
        request = parse_head(head + b"\r\n\r\n", "192.0.2.1")
        assert 0 <= body_size(request) <= 4096
    except BadRequest:
        return None
    return request


@given(_HEADS)
def test_a_head_is_a_request_or_refused(head: bytes) -> None:
    request = _parsed(head)
    if request is not None:
        assert request.path.startswith("/")
        assert request.method.isalpha()
        assert not set("\r\n\0") & set("".join(request.headers.values()))


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
