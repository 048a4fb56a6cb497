# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's pages: which there are, where, and whom each asks.

Knows that each HTTP server has an event loop and a thread of its own, and that what a
page shows is read in the daemon's; does not know HTTP or what is shown.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from vpngate.config import Listen
from vpngate.config.sections import HttpSection
from vpngate.http.hosts import known_hosts
from vpngate.http.pages import health_page, metrics_page
from vpngate.http.routing import PageHandler
from vpngate.http.server import HttpServer
from vpngate.http.shared_work import SharedWork
from vpngate.http.status_page import Links, status_json, status_page

STATE_PATIENCE = 5.0  # seconds; after that the page says that the daemon is busy

_R = TypeVar("_R")
_Ask = Callable[[], Coroutine[Any, Any, _R]]


def servers(  # noqa: PLR0913 - all that the pages show
    settings: Callable[[], HttpSection],
    *,
    state: _Ask[Mapping[str, Any]],
    refresh: _Ask[None],
    reasons: Callable[[], list[str]],
    notes: Callable[[], list[str]],
    exposition: Callable[[str], tuple[bytes, str]],
) -> list[HttpServer]:
    """The servers of all pages, to be started. To be called in the daemon's loop.

    `settings` are those in force, asked for at each request; where to listen is taken
    from them once. `state` and `refresh` (of the totals in the metrics) run in the
    daemon's loop, however many ask at most ten times a second; `reasons` for being
    unhealthy, `notes` beside them and the metrics' `exposition` in the servers'
    threads.
    """

    def links() -> Links:
        return Links(settings().registration_url, settings().contact)

    def served(key: str, listen: Listen, routes: dict[str, PageHandler]) -> HttpServer:
        return HttpServer(
            *listen,
            {("GET", path): handler for path, handler in routes.items()},
            hosts=known_hosts(listen.host, lambda: settings().names),
            key=key,
        )

    told = SharedWork(_here(state), patience=STATE_PATIENCE)
    for_people = {"/": status_page(told, links), "/status.json": status_json(told)}
    for_monitoring = {
        "/healthz": health_page(reasons, notes),
        "/metrics": metrics_page(exposition, _here(refresh)),
    }
    listen, other = settings().listen, settings().metrics_listen
    if other is None:
        return [served("http.listen", listen, for_people | for_monitoring)]
    return [
        served("http.listen", listen, for_people),
        served("http.metrics_listen", other, for_monitoring),
    ]


def _here(ask: _Ask[_R]) -> Callable[[], Awaitable[_R]]:
    """The same, asked for in another loop and run in this one."""
    loop = asyncio.get_running_loop()

    def asking() -> Awaitable[_R]:
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(ask(), loop))

    return asking
