# SPDX-License-Identifier: GPL-2.0-or-later
"""One request as bytes (RFC 9112), read by h11, and its answer.

Knows what we refuse beyond what h11 does, and how much of anything is taken; does
not know sockets, time, or which paths exist.
"""

import re
from http import HTTPStatus
from typing import NamedTuple

import h11

from vpngate.http.request_response import BadRequest, Request, Response

HEAD_LIMIT = 8 * 1024  # bytes of request line and headers
HEADER_LIMIT = 64
BODY_LIMIT = 4 * 1024  # bytes: a form with one field
# Bytes on the wire for a body: one a chunk takes six (RFC 9112, 7.1).
BODY_ROOM = 8 * BODY_LIMIT

_GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
# RFC 9112, 3.2.2; what follows the authority is the origin form again.
_ABSOLUTE = re.compile(r"(?i:https?)://([^/?#]*)([/?].*)?")
# RFC 3986, 3.2, without a user's name: a name, an IPv4 or an IPv6 address; a port.
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._~%-]*))(?::[0-9]{0,5})?")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class _Target(NamedTuple):
    path: str
    query: str
    host: str


class Exchange:
    """What a connection carries: bytes in, one request out; its answer in, bytes out.

    `interim` is what the caller waits for before it sends the rest, if anything
    (RFC 9110, 10.1.1); whoever sends it empties it.
    """

    def __init__(self, peer: str = "", local: str = "") -> None:
        """`peer` and `local` are the addresses at both ends, for the request."""
        self.interim = b""
        self._peer, self._local = peer, local
        self._wire = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        self._room = HEAD_LIMIT  # bytes that may still come
        self._head: Request | None = None
        self._body = bytearray()

    def receive(self, data: bytes) -> Request | None:
        """The request, once it is complete; what comes behind it is not looked at.

        Raises BadRequest for what is not plainly a request of HTTP/1.0 or 1.1, or
        is too large.
        """
        while data:
            piece, data = data[: self._room], data[self._room :]
            self._room -= len(piece)
            self._wire.receive_data(piece)
            if self._complete():
                assert self._head is not None  # noqa: S101 - it came first
                return self._head._replace(body=bytes(self._body))
            if not self._room:
                raise BadRequest(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                    if self._head is None
                    else HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                )
        return None

    def answer(self, response: Response) -> bytes:
        """The answer on the wire, without its body if the request was HEAD."""
        bare = self._head is not None and self._head.method == "HEAD"
        return response.head if bare else response.head + response.body

    def _complete(self) -> bool:
        """Read what there is. Returns whether the request is complete."""
        while True:
            try:
                event = self._wire.next_event()
            except h11.RemoteProtocolError as error:
                raise BadRequest(HTTPStatus(error.error_status_hint)) from None
            if isinstance(event, h11.Request):
                self._head = _head(event)._replace(peer=self._peer, local=self._local)
                self._room = BODY_ROOM
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > BODY_LIMIT:
                    raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            elif isinstance(event, h11.EndOfMessage):
                return True
            else:  # more is needed
                if self._wire.they_are_waiting_for_100_continue:
                    self.interim = _GO_ON
                return False


def _head(event: h11.Request) -> Request:
    """Returns the request of this head; its body is still to come."""
    if not event.http_version.startswith(b"1."):
        raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    if len(event.headers) > HEADER_LIMIT:
        raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    headers: dict[str, str] = {}
    for raw_name, raw_value in event.headers:
        name, value = raw_name.decode(), raw_value.decode("latin-1")
        if _CONTROL.search(value):
            raise BadRequest(HTTPStatus.BAD_REQUEST)
        # Repeated fields are one list (RFC 9110, 5.3).
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    _check_body(headers)
    target = _target(event.target.decode(), headers.get("host", ""))
    return Request(
        event.method.decode(), target.path, target.query, headers, host=target.host
    )


def _check_body(headers: dict[str, str]) -> None:
    """Refuse a body that is too large, or that two readers might see differently."""
    if headers.get("expect", "100-continue").lower() != "100-continue":
        raise BadRequest(HTTPStatus.EXPECTATION_FAILED)
    if "content-length" in headers:
        if "transfer-encoding" in headers:  # RFC 9112, 6.1: may be smuggling
            raise BadRequest(HTTPStatus.BAD_REQUEST)
        if int(headers["content-length"]) > BODY_LIMIT:  # h11 has seen to its form
            raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def _target(text: str, host: str) -> _Target:
    """Path, query and host of a request target in origin or absolute form.

    What an absolute one names is asked for, whatever `Host` says (RFC 9112, 3.2.2).
    """
    absolute = _ABSOLUTE.fullmatch(text)
    if absolute is not None:
        host, text = absolute[1], absolute[2] or "/"
        text = text if text[0] == "/" else f"/{text}"
    authority = _AUTHORITY.fullmatch(host)
    if authority is None or text[0] != "/":
        raise BadRequest(HTTPStatus.BAD_REQUEST)
    path, _, query = text.partition("?")
    return _Target(path, query, (authority[1] or authority[2] or "").lower())
