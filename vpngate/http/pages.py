# SPDX-License-Identifier: GPL-2.0-or-later
"""The pages that programs read: health and metrics.

Knows how they answer; does not know what is healthy, or any metric.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

from vpngate.http.request_response import Request, Response
from vpngate.http.routing import PageHandler
from vpngate.http.shared_work import SharedWork

REFRESH_PATIENCE = 2.0  # seconds; after that the numbers are shown as they are
FORMS = 4  # of one moment's numbers, by Accept header; more are nobody's monitoring


def health_page(
    reasons: Callable[[], Sequence[str]], notes: Callable[[], Sequence[str]] = tuple
) -> PageHandler:
    """`/healthz`: 200, or 503 with each of `reasons` (none: healthy) on a line.

    `notes` are lines below, whatever the answer.
    """

    async def page(_request: Request) -> Response:
        ill = reasons()
        if ill:
            lines = [*ill, *notes()]
            return Response.text(HTTPStatus.SERVICE_UNAVAILABLE, "\n".join(lines))
        return Response.text(HTTPStatus.OK, "\n".join(["ok", *notes()]))

    return page


def metrics_page(
    exposition: Callable[[str], tuple[bytes, str]],
    refresh: Callable[[], Awaitable[None]] | None = None,
) -> PageHandler:
    """`/metrics`: the exposition, in the format that the Accept header asks for.

    `refresh` may bring numbers up to date first. It runs in the server's loop, once
    for all who wait for it; if it fails or takes long, the numbers are shown as they
    are. Where one moment's numbers have been asked for in too many forms, which takes
    its time each, they are plain.
    """

    async def renew() -> dict[str, Response]:
        if refresh is not None:
            with contextlib.suppress(Exception):  # other metrics show what failed
                await asyncio.wait_for(refresh(), REFRESH_PATIENCE)
        return {}

    renewed = SharedWork(renew, patience=2 * REFRESH_PATIENCE)

    async def page(request: Request) -> Response:
        forms, accept = await renewed(), request.headers.get("accept", "")
        if accept not in forms and len(forms) >= FORMS:
            accept = ""  # RFC 9110, 12.5.1: it may be disregarded
        if accept not in forms:
            forms[accept] = Response(HTTPStatus.OK, *exposition(accept))
        return forms[accept]

    return page
