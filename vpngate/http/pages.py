# SPDX-License-Identifier: GPL-2.0-or-later
"""The pages that programs read: health and metrics.

Knows how they answer; does not know what is healthy, or any metric.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

from vpngate.http.messages import Request, Response

Handler = Callable[[Request], Awaitable[Response]]

REFRESH_PATIENCE = 2.0  # seconds; after that the numbers are shown as they are


def health_page(reasons: Callable[[], Sequence[str]]) -> Handler:
    """`/healthz`: 200, or 503 with each of `reasons` (none: healthy) on a line."""

    async def page(_request: Request) -> Response:
        ill = reasons()
        if ill:
            return Response.text(HTTPStatus.SERVICE_UNAVAILABLE, "\n".join(ill))
        return Response.text(HTTPStatus.OK, "ok")

    return page


def metrics_page(
    exposition: Callable[[str], tuple[bytes, str]],
    refresh: Callable[[], Awaitable[None]] | None = None,
) -> Handler:
    """`/metrics`: the exposition, in the format that the Accept header asks for.

    `refresh` may bring numbers up to date first. It runs in the server's loop;
    if it fails or takes long, the numbers are shown as they are.
    """

    async def page(request: Request) -> Response:
        if refresh is not None:
            with contextlib.suppress(Exception):  # other metrics show what failed
                await asyncio.wait_for(refresh(), REFRESH_PATIENCE)
        body, content_type = exposition(request.headers.get("accept", ""))
        return Response(HTTPStatus.OK, body, content_type)

    return page
