# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's pages: which there are, where, and whom each asks.

Knows that each HTTP server has an event loop and a thread of its own, and that what a
page shows is read in the daemon's; does not know HTTP or what is shown.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from netaddr import IPNetwork

from vpngate.config import Listen
from vpngate.config.sections import HttpSection
from vpngate.http.hosts import known_hosts
from vpngate.http.pages import health_page, metrics_page
from vpngate.http.routing import PageHandler
from vpngate.http.server import HttpServer
from vpngate.http.shared_work import SharedWork
from vpngate.public.address_standing import AddressStanding
from vpngate.public.check_page import CheckAnswers, CheckPage
from vpngate.public.question import AddressRange
from vpngate.public.status_page import report_json, status_json, status_page

STATE_PATIENCE = 5.0  # seconds; after that the page says that the daemon is busy

_R = TypeVar("_R")
_Ask = Callable[[], Coroutine[Any, Any, _R]]


class Checks(Protocol):
    """What the self-check asks."""

    def trusted(self) -> Sequence[IPNetwork]:
        """The proxies in force; from any thread."""

    def is_own(self, address: bytes) -> bool:
        """Whether an address is the gateway's own; from any thread."""

    def standing(self, question: AddressRange) -> AddressStanding:
        """Whether a range is registered or protected; from any thread."""

    async def slowed(self, address: bytes) -> bool:
        """Whether a tunnel of an address is slowed; in the daemon's loop."""


def _answers(check: Checks) -> CheckAnswers:
    slowed = _here(check.slowed)
    return CheckAnswers(check.standing, slowed, check.trusted, check.is_own)


def servers(  # noqa: PLR0913 - all that the pages show
    settings: Callable[[], HttpSection],
    *,
    state: _Ask[Mapping[str, Any]],
    report: _Ask[Mapping[str, Any]],
    check: Checks,
    refresh: _Ask[None],
    reasons: Callable[[], list[str]],
    notes: Callable[[], list[str]],
    exposition: Callable[[str], tuple[bytes, str]],
) -> list[HttpServer]:
    """The servers of all pages, to be started. To be called in the daemon's loop.

    `settings` are those in force, asked for at each request; where to listen is taken
    from them once. `state`, `report` and `refresh` (of the totals in the metrics) run
    in the daemon's loop, however many ask at most ten times a second; `reasons` for
    being unhealthy, `notes` beside them and the metrics' `exposition` in the servers'
    threads.
    """
    told = SharedWork(_here(state), patience=STATE_PATIENCE)
    reported = SharedWork(_here(report), patience=STATE_PATIENCE)
    answers = _answers(check)
    for_people = {
        **_got({"/": status_page(reported), "/status.json": status_json(told)}),
        **_got({"/report.json": report_json(reported)}),
        **CheckPage(answers, reported).routes("/check"),
    }
    for_monitoring = _got(
        {
            "/healthz": health_page(reasons, notes),
            "/metrics": metrics_page(exposition, _here(refresh)),
        }
    )

    def served(key: str, listen: Listen, routes: _Routes) -> HttpServer:
        hosts = known_hosts(listen.host, lambda: settings().names)
        return HttpServer(*listen, routes, hosts=hosts, key=key)

    listen, other = settings().listen, settings().metrics_listen
    if other is None:
        return [served("http.listen", listen, for_people | for_monitoring)]
    return [
        served("http.listen", listen, for_people),
        served("http.metrics_listen", other, for_monitoring),
    ]


_Routes = Mapping[tuple[str, str], PageHandler]


def _got(pages: Mapping[str, PageHandler]) -> dict[tuple[str, str], PageHandler]:
    """Pages that are there to be got."""
    return {("GET", path): handler for path, handler in pages.items()}


def _here(
    ask: Callable[..., Coroutine[Any, Any, _R]],
) -> Callable[..., Awaitable[_R]]:
    """The same, asked for in another loop and run in this one."""
    loop = asyncio.get_running_loop()

    def asking(*arguments: Any) -> Awaitable[_R]:
        work = asyncio.run_coroutine_threadsafe(ask(*arguments), loop)
        return asyncio.wrap_future(work)

    return asking
