# SPDX-License-Identifier: GPL-2.0-or-later
"""One request and its response on a TLS connection of its own.

Knows urllib3's connection, and translates everything that can go wrong on it into
one line; does not know redirects, statuses or what a registry is.
"""

import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from io import BytesIO
from urllib.parse import urlsplit, urlunsplit

from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

from vpngate.errors import FeedFault
from vpngate.feed.faults import Reason, fault
from vpngate.feed.settings import FetchLimits, HttpsAddress
from vpngate.feed.sources.deadline import Deadline

_HTTPS_PORT = 443
_CHUNK = 1 << 16


class TlsClient:
    """Makes exchanges: whom to trust, how long to wait, when all must be over.

    where   names the resource in an error
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        limits: FetchLimits,
        deadline: Deadline,
        where: str,
    ) -> None:
        self._context = context
        self._limits = limits
        self._deadline = deadline
        self.where = where

    @contextmanager
    def get(
        self, address: HttpsAddress, headers: Mapping[str, str]
    ) -> Iterator[BaseHTTPResponse]:
        """A GET whose response head is there and whose body is yet to be read.

        Any failure, also while the body is read inside, becomes a FeedFault; the
        connection is closed on leaving.
        """
        self._deadline.check(self.where)
        parts = urlsplit(address.url)
        connection = HTTPSConnection(
            parts.hostname or "",
            parts.port or _HTTPS_PORT,
            timeout=min(self._limits.connect, self._deadline.remaining),
            ssl_context=self._context,
        )
        try:
            with self._translated():
                connection.connect()
                connection.timeout = self._limits.idle
                with self._deadline.over(connection.sock):
                    connection.request(
                        "GET",
                        urlunsplit(("", "", parts.path, parts.query, "")),
                        headers=headers,
                        preload_content=False,
                        decode_content=False,
                    )
                    yield connection.getresponse()
        finally:
            connection.close()

    def body(self, response: BaseHTTPResponse, max_bytes: int) -> bytes:
        """The whole body as sent; FeedFault if it is larger than `max_bytes`."""
        announced = response.headers.get("Content-Length", "")
        if _is_more(announced, max_bytes):
            raise self._too_large(f"{announced} bytes, more than {max_bytes}")
        content = BytesIO()  # hands its bytes on without a copy of them all
        try:
            for chunk in response.stream(_CHUNK, decode_content=False):
                content.write(chunk)
                if content.tell() > max_bytes:
                    raise self._too_large(f"more than {max_bytes} bytes")
        except ProtocolError as error:
            self._deadline.check(self.where)
            what = f"the body ended early, after {content.tell()} bytes"
            remedy = "see the file on the server and the server's log"
            raise fault(Reason.TRUNCATED, self.where, what, remedy) from error
        # A connection that was cut at the deadline looks like a body's end to a
        # response that states no length.
        self._deadline.check(self.where)
        return content.getvalue()

    def _too_large(self, what: str) -> FeedFault:
        remedy = "see whether it is a registry"
        return fault(Reason.TOO_LARGE, self.where, what, remedy)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (HTTPError, HTTPException, OSError) as error:
            self._deadline.check(self.where)  # whatever it was, that is why
            raise _fault_of(error, self.where) from error


def _is_more(announced: str, max_bytes: int) -> bool:
    """Whether a length as a server writes it, of as many digits as it likes, is more.

    Python makes no number of more than 4,300 digits.
    """
    digits = announced.lstrip("0")
    if not announced.isdecimal() or len(digits) < len(str(max_bytes)):
        return False
    return len(digits) > len(str(max_bytes)) or int(digits) > max_bytes


def _fault_of(error: Exception, where: str) -> FeedFault:
    """The failure in a word and a line; the innermost cause says it best."""
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    for cause in reversed(causes):
        for kinds, reason, what, remedy in _TRANSLATION:
            if isinstance(cause, kinds):
                return fault(reason, where, what.format(_text(cause)), remedy)
    what = f"the exchange failed ({_text(error)})"
    return fault(Reason.PROTOCOL, where, what, "see what answers there")


def _text(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


# From the particular to the general; the first that fits.
_TRANSLATION: tuple[tuple[tuple[type[Exception], ...], Reason, str, str], ...] = (
    (
        (ssl.SSLCertVerificationError,),
        Reason.CERTIFICATE,
        "its certificate is not accepted: {}",
        "mend the server's certificate or trust its issuer",
    ),
    (
        (ReadTimeoutError, TimeoutError),
        Reason.TIMEOUT,
        "no answer in time",
        "see whether the server is up and the way to it open",
    ),
    (
        (socket.gaierror,),
        Reason.UNREACHABLE,
        "its name has no address ({})",
        "see the name and this machine's resolver",
    ),
    (
        (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError),
        Reason.UNREACHABLE,
        "the connection was closed before the answer was complete",
        "see the server's log",
    ),
    (
        (ssl.SSLError,),
        Reason.TLS,
        "no TLS connection ({})",
        "see the server's TLS",
    ),
    (
        (OSError,),
        Reason.UNREACHABLE,
        "cannot be reached ({})",
        "see whether the server is up and the way to it open",
    ),
)
