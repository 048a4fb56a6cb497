# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests and responses as bytes (RFC 9112), and nothing else.

Knows the syntax that we accept, stricter than the RFC has to be, and the headers
of every answer; does not know sockets, time, or which paths exist.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NamedTuple

HEAD_LIMIT = 8 * 1024  # bytes of request line and headers
BODY_LIMIT = 4 * 1024  # bytes: a form with one field
HEADER_LIMIT = 64

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[\x21-\x7e]*) HTTP/1\.[01]")
# A field line; folding (obs-fold) and blanks before the colon do not match.
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")


class Request(NamedTuple):
    """One request. `peer` is the address that the connection came from."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes = b""
    peer: str = ""


@dataclass(frozen=True)
class Response:
    """One answer."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def text(cls, status: HTTPStatus, text: str, **headers: str) -> "Response":
        """Plain text, a line break at its end."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, f"{text}\n".encode(), headers=names)

    def encode(self, *, head_only: bool = False) -> bytes:
        """The bytes on the wire; the connection ends after them."""
        headers = {
            "Content-Type": self.content_type,
            "Content-Length": str(len(self.body)),
            "Connection": "close",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Content-Security-Policy": "default-src 'none'; style-src 'self'"
            " 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
            **self.headers,
        }
        lines = [f"HTTP/1.1 {self.status} {self.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        return head if head_only else head + self.body


class BadRequest(Exception):
    """A request that is answered with `status` and nothing more."""

    def __init__(self, status: HTTPStatus) -> None:
        self.status = status
        super().__init__(status.phrase)


def parse_head(head: bytes, peer: str) -> Request:
    """The request in `head`, which ends with an empty line; its body is to come.

    Raises BadRequest for what is not plainly a request of HTTP/1.0 or 1.1.
    """
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    line = _REQUEST_LINE.fullmatch(first)
    if line is None or len(lines) > HEADER_LIMIT:
        raise BadRequest(HTTPStatus.BAD_REQUEST)
    headers: dict[str, str] = {}
    for text in lines:
        match = _HEADER.fullmatch(text)
        if match is None:
            raise BadRequest(HTTPStatus.BAD_REQUEST)
        name, value = match[1].decode().lower(), match[2].decode("latin-1").strip()
        # Repeated fields are one list (RFC 9110, 5.3); a repeated length is none.
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    path, _, query = line[2].decode().partition("?")
    return Request(line[1].decode(), path, query, headers, peer=peer)


def body_size(request: Request) -> int:
    """Bytes of body to expect; BadRequest if that is not said, or too many."""
    if "transfer-encoding" in request.headers:
        raise BadRequest(HTTPStatus.LENGTH_REQUIRED)
    length = request.headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise BadRequest(HTTPStatus.BAD_REQUEST)
    if len(length) > len(str(BODY_LIMIT)) or int(length) > BODY_LIMIT:
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return int(length)
