# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests from strangers: HTTP heads, and lines of the control socket."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vpngate.daemon.control import ControlServer
from vpngate.http.messages import BadRequest, Request, body_size, parse_head

_TOKENS = st.sampled_from(
    [
        b"GET", b"POST", b" ", b"/", b"?", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\n",
        b"\r", b":", b"Host: a", b"Content-Length: 5", b"Content-Length: -1",
        b"Transfer-Encoding: chunked", b"\0", b"\xff", b"%00", b"\t",
    ]
)  # fmt: skip
_HEADS = st.binary(max_size=300) | st.lists(_TOKENS, max_size=40).map(b"".join)

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
_LINES = (
    st.binary(max_size=300)
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
    json.dumps(answer)
