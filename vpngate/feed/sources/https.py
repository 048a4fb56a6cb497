# SPDX-License-Identifier: GPL-2.0-or-later
"""One resource over HTTPS: a bounded, verified, conditional GET.

Knows redirects, statuses, content types and encodings; does not know how an exchange
fails underneath, nor registries, signatures, or when to ask again. Blocking; raises
FeedFault.

HTTP semantics: RFC 9110 (redirection 15.4, conditional requests 13, content coding
8.4, framing: RFC 9112, 6.3).
"""

import ssl
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from urllib3 import BaseHTTPResponse

from vpngate import __version__
from vpngate.feed.answer import Condition
from vpngate.feed.faults import Reason, fault
from vpngate.feed.settings import HttpsAddress, parse_https
from vpngate.feed.sources.tls_client import TlsClient

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GZIP = frozenset({"gzip", "x-gzip"})

_MAX_REDIRECTS = 5
_MAX_VALIDATOR = 1024  # characters of an ETag that are worth remembering

# What a registry is served as, by servers that know CSV and JSON and by those that
# do not. What it must not be is a page: a login, an error, a search.
_CONTENT_TYPES = frozenset(
    {
        "application/csv",
        "application/gzip",
        "application/json",
        "application/octet-stream",
        "application/x-gzip",
        "binary/octet-stream",
        "text/csv",
        "text/plain",
        "text/x-csv",
    }
)

# Statuses with a reason of their own; 5xx is SERVER_ERROR, the rest HTTP_STATUS.
_STATUS_REASONS: dict[int, Reason] = {
    HTTPStatus.UNAUTHORIZED: Reason.FORBIDDEN,
    HTTPStatus.FORBIDDEN: Reason.FORBIDDEN,
    HTTPStatus.NOT_FOUND: Reason.NOT_FOUND,
    HTTPStatus.GONE: Reason.NOT_FOUND,
    HTTPStatus.TOO_MANY_REQUESTS: Reason.SERVER_ERROR,
}


@dataclass(frozen=True, slots=True)
class Resource:
    """A delivered body as it was sent, and how to ask for it next.

    coded   the server says that it packed the body on the way; nothing was unpacked
    """

    body: bytes
    condition: Condition
    coded: bool = False


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of a resource beyond its being there.

    max_bytes   of the body, as sent
    any_type    take any content type
    framed      refuse a body whose end nothing proves: no length, not chunked
    fresh       ask caches on the way to look again
    """

    max_bytes: int
    any_type: bool = False
    framed: bool = False
    fresh: bool = False


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """Whom to trust: the system's certificates, or those in `ca_file` alone."""
    try:
        return ssl.create_default_context(cafile=ca_file)  # TLS 1.2 or later
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or error
        what = f"cannot be read as certificates ({reason})"
        remedy = "name a file of certificates in PEM form"
        raise fault(Reason.CERTIFICATE, str(ca_file), what, remedy) from error


def get(
    address: HttpsAddress, transport: TlsClient, demand: Demand, condition: Condition
) -> Resource | None:
    """The resource, or None if the server says that `condition` still holds."""
    where = transport.where
    headers = {
        "Accept-Encoding": "identity",
        "Connection": "close",
        "User-Agent": f"vpngate/{__version__}",
        **condition.headers,
    }
    if demand.fresh:
        headers["Cache-Control"] = "no-cache"
    current = address
    for _ in range(_MAX_REDIRECTS + 1):
        with transport.get(current, headers) as response:
            if response.status == HTTPStatus.NOT_MODIFIED and condition.headers:
                return None
            if response.status not in _REDIRECTS:
                _check_head(response, where, demand)
                coded = _is_coded(response, current, where)
                body = transport.body(response, demand.max_bytes)
                return Resource(body, _condition_of(response), coded)
            current = _redirected(response, current, where)
    what = f"redirects more than {_MAX_REDIRECTS} times"
    raise fault(Reason.REDIRECT, where, what, "name the final address")


def _redirected(
    response: BaseHTTPResponse, current: HttpsAddress, where: str
) -> HttpsAddress:
    target = response.headers.get("Location", "")
    try:
        return parse_https(urljoin(current.url, target))
    except ValueError as error:
        what = f"redirects to what is not fetched: {error}"
        remedy = "name the final https address"
        raise fault(Reason.REDIRECT, where, what, remedy) from error


def _check_head(response: BaseHTTPResponse, where: str, demand: Demand) -> None:
    """FeedFault unless this is the head of a registry's response."""
    if response.status != HTTPStatus.OK:
        reason = _STATUS_REASONS.get(response.status)
        if reason is None:
            is_server = response.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            reason = Reason.SERVER_ERROR if is_server else Reason.HTTP_STATUS
        what = f"answers {response.status} {response.reason or ''}".rstrip()
        raise fault(reason, where, what, "see the address and the server's log")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind and kind not in _CONTENT_TYPES and not demand.any_type:
        what = f"is served as {kind}, which is not a registry"
        remedy = "serve it as text/csv, application/json or application/gzip"
        raise fault(Reason.CONTENT_TYPE, where, what, remedy)
    length = response.headers.get("Content-Length", "")
    coding = response.headers.get("Transfer-Encoding", "").lower()
    if demand.framed and not length.isdecimal() and coding != "chunked":
        what = "the server states no length, so a truncated registry would look whole"
        remedy = "serve it with Content-Length, or sign it"
        raise fault(Reason.TRUNCATED, where, what, remedy)


def _is_coded(response: BaseHTTPResponse, current: HttpsAddress, where: str) -> bool:
    """Whether the body is, by the server's word, a gzip of what was published.

    Identity was asked for, but object stores send what was uploaded. And some
    servers call a file that ends in .gz a gzip coding of the file within; what was
    published, and signed, is the .gz.
    """
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if coding in {"", "identity"}:
        return False
    if coding not in _GZIP:
        what = f"is sent in the coding {coding}, which was not asked for"
        remedy = "serve it without Content-Encoding"
        raise fault(Reason.CONTENT_ENCODING, where, what, remedy)
    return not urlsplit(current.url).path.endswith(".gz")


def _condition_of(response: BaseHTTPResponse) -> Condition:
    def remembered(name: str) -> str:
        value = response.headers.get(name, "")
        usable = value.isascii() and value.isprintable()
        return value if usable and len(value) <= _MAX_VALIDATOR else ""

    return Condition(remembered("ETag"), remembered("Last-Modified"))
