# SPDX-License-Identifier: GPL-2.0-or-later
"""What a registry's server may answer: read through to the end, or one line.

Without TLS, which would only hide the bytes: all that reads them is as it is.
"""

import socket
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from urllib3.connection import HTTPConnection

from tests.fuzz.mutations import mutated
from vpngate.errors import FeedFault
from vpngate.feed import FetchLimits
from vpngate.feed.answer import Condition
from vpngate.feed.settings import parse_https
from vpngate.feed.sources import https, tls_client
from vpngate.feed.sources.deadline import Deadline

_LIMIT = 10_000  # bytes of a body
_LIMITS = FetchLimits(connect=5, idle=5)
_CONTEXT = https.trust(None)
_ADDRESS = parse_https("https://registry.example/r.csv")
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n"
_SOUND = [
    _OK + b'Content-Length: 20\r\nETag: "1"\r\n\r\nprefix,registration\n',
    _OK + b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nprefi\r\n3\r\nx,r\r\n0\r\n\r\n",
    _OK + b"Content-Encoding: gzip\r\nLast-Modified: now\r\n\r\nprefix,registration\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" + _OK + b"Content-Length: 0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: /r.csv?1#2\r\n\r\n",
    b"HTTP/1.1 308 There\r\nLocation: https://[2001:db8::1]:443/\xfc\r\n\r\n",
    b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n',
    b"HTTP/1.0 503 Busy\x1b[2J\r\nRetry-After: 1\r\n\r\n",
]
_NUMBER = st.text("0123456789-+_., \xb2x", max_size=8) | st.sampled_from(
    ["9" * 5000, "0" * 5000, "9" * 20, "-1", "1e3"]
)


def _with_length(number: str) -> bytes:
    return _OK + f"Content-Length: {number}\r\n\r\nx".encode("latin-1")


class _Plain(HTTPConnection):
    """A connection to a server that has said everything already."""

    said = b""

    def __init__(self, *where: Any, ssl_context: object, **options: Any) -> None:
        assert ssl_context is not None
        super().__init__(*where, **options)

    def connect(self) -> None:
        self.sock, self._server = socket.socketpair()
        self.sock.settimeout(self.timeout)
        self._server.sendall(self.said)
        self._server.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        super().close()
        self._server.close()


@given(
    st.binary(max_size=300)
    | mutated(_SOUND)
    | _NUMBER.map(_with_length)
    | st.text("/:?#[]@%.a1 \\\t\xfc", max_size=30).map(
        lambda to: f"HTTP/1.1 302 x\r\nLocation: {to}\r\n\r\n".encode("latin-1")
    ),
    st.booleans().map(lambda framed: https.Demand(_LIMIT, framed=framed)),
)
@example(_with_length("9" * 5000), https.Demand(_LIMIT))
def test_a_server_says_anything(said: bytes, demand: https.Demand) -> None:
    transport = tls_client.TlsClient(_CONTEXT, _LIMITS, Deadline(60), str(_ADDRESS))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tls_client, "HTTPSConnection", _Plain)
            patch.setattr(_Plain, "said", said)
            found = https.get(_ADDRESS, transport, demand, Condition('"1"'))
    except FeedFault as fault:
        (line,) = fault.lines
        assert line.isprintable()
        return
    if found is not None:
        assert len(found.body) <= _LIMIT
        # What is sent with the next question has to fit a line of its head.
        texts = (found.condition.etag, found.condition.last_modified)
        assert all(text.isascii() and text.isprintable() for text in texts)
