# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's pages: which there are, and whom each asks.

Knows that the HTTP server has an event loop and a thread of its own, and that what a
page shows is read in the daemon's; does not know HTTP or what is shown.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from vpngate.config.sections import Http
from vpngate.http.pages import health_page, metrics_page
from vpngate.http.server import HttpServer
from vpngate.http.status_page import status_json, status_page

_R = TypeVar("_R")


def server(
    settings: Http,
    *,
    state: Callable[[], Coroutine[Any, Any, Mapping[str, Any]]],
    refresh: Callable[[], Coroutine[Any, Any, None]],
    reasons: Callable[[], list[str]],
    exposition: Callable[[str], tuple[bytes, str]],
) -> HttpServer:
    """The server of all pages, to be started. To be called in the daemon's loop.

    `state` and `refresh` (of the totals in the metrics) run in that loop, `reasons`
    for being unhealthy and the metrics' `exposition` in the server's thread.
    """
    loop = asyncio.get_running_loop()

    def there(
        ask: Callable[[], Coroutine[Any, Any, _R]],
    ) -> Callable[[], Awaitable[_R]]:
        def asking() -> Awaitable[_R]:
            return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(ask(), loop))

        return asking

    page = status_page(
        there(state),
        registration_url=settings.registration_url,
        contact=settings.contact,
    )
    return HttpServer(
        settings.listen.host,
        settings.listen.port,
        {
            ("GET", "/"): page,
            ("GET", "/status.json"): status_json(there(state)),
            ("GET", "/healthz"): health_page(reasons),
            ("GET", "/metrics"): metrics_page(exposition, there(refresh)),
        },
    )
