# SPDX-License-Identifier: GPL-2.0-or-later
"""Which page answers a request, and what is said where none can.

Knows paths, methods, names and pages that fail; does not know connections.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from vpngate.http.hosts import Hosts
from vpngate.http.request_response import Request, Response
from vpngate.log_events import named, place_of

# One page: a request in, its answer out.
PageHandler = Callable[[Request], Awaitable[Response]]

# What did not come in time, or has no room; shared, so that it costs little.
BUSY = Response.text(HTTPStatus.SERVICE_UNAVAILABLE, "busy", Retry_After="1")
TELL_EVERY = 60.0  # seconds, of one page that fails

_log = logging.getLogger(__name__)


class Routing:
    """`routes`, `(method, path)` → handler; HEAD is answered by GET's."""

    def __init__(
        self,
        routes: Mapping[tuple[str, str], PageHandler],
        hosts: Hosts,
        *,
        tell_every: float = TELL_EVERY,
    ) -> None:
        self._routes = routes
        self._hosts = hosts
        self._tell_every = tell_every
        self._told: dict[str, float] = {}  # by page that fails, when
        self._untold: dict[str, int] = {}  # how often since

    async def respond(self, request: Request) -> Response:
        """Returns the answer; an error in a page becomes an answer, too."""
        if not self._hosts(request.host, request.local):
            return Response.text(
                HTTPStatus.MISDIRECTED_REQUEST, "not one of this gateway's names"
            )
        method = "GET" if request.method == "HEAD" else request.method
        handler = self._routes.get((method, request.path))
        if handler is None:
            return self._no_such(request.path)
        try:
            return await handler(request)
        except TimeoutError:  # what the page asked for did not come in time
            return BUSY
        except Exception as error:  # noqa: BLE001 - one broken page, not the server
            self._tell(request.path, error)
            return Response.text(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error")

    def _no_such(self, path: str) -> Response:
        allowed = {method for method, known in self._routes if known == path}
        if not allowed:
            return Response.text(HTTPStatus.NOT_FOUND, "not found")
        if "GET" in allowed:
            allowed.add("HEAD")
        return Response.text(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "method not allowed",
            Allow=", ".join(sorted(allowed)),
        )

    def _tell(self, path: str, error: Exception) -> None:
        """Log the error, but not each time: anybody can ask for the page again.

        Where it came up, not what it says: that may quote what was asked.
        """
        now = time.monotonic()
        if now - self._told.get(path, -self._tell_every) < self._tell_every:
            self._untold[path] = self._untold.get(path, 0) + 1
            return
        self._told[path] = now
        before = self._untold.pop(path, 0)
        since = f" ({before} more since this was last told)" if before else ""
        where = place_of(error)
        words = "http: the page %s failed%s: %s"
        _log.error(words, path, since, where, extra=named("page_failed", page=path))
