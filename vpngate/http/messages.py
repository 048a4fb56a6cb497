# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests and responses as pages see them.

Knows what is in them, and the headers of every answer; does not know their form on
the wire (`exchange.py`), sockets, or which paths exist.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
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

    def fields(self) -> dict[str, str]:
        """All its headers; the connection ends after it."""
        return {
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


class BadRequest(Exception):
    """A request that is answered with `status` and nothing more."""

    def __init__(self, status: HTTPStatus) -> None:
        self.status = status
        super().__init__(status.phrase)
