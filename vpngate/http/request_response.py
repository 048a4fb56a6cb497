# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests and responses as pages see them, and responses as bytes (RFC 9112).

Knows what is in them, and the headers of every answer; does not know how a request is
read (`exchange.py`), sockets, or which paths exist.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import NamedTuple


class Request(NamedTuple):
    """One request.

    host   the name or address that was asked for, without port; "" if none was
    peer   the address that the connection came from
    local  the address that it came to
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes = b""
    host: str = ""
    peer: str = ""
    local: str = ""


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

    @cached_property
    def head(self) -> bytes:
        """Status line and headers on the wire; the connection ends after the answer.

        Written once, however many share the answer.
        """
        fields = {
            "Content-Type": self.content_type,
            "Content-Length": str(len(self.body)),
            "Connection": "close",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
            **self.headers,
        }
        lines = [f"HTTP/1.1 {self.status} {self.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        return "\r\n".join([*lines, "", ""]).encode("ascii")


class BadRequest(Exception):
    """A request that is answered with `status` and nothing more."""

    def __init__(self, status: HTTPStatus) -> None:
        self.status = status
        super().__init__(status.phrase)
