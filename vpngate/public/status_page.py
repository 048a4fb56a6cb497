# SPDX-License-Identifier: GPL-2.0-or-later
"""The pages that show the gateway to everybody: for people, and as JSON.

Knows which page shows what, and that what many ask for at once is written once; does
not know how anything is counted.
"""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from vpngate.http.request_response import Request, Response
from vpngate.http.routing import PageHandler
from vpngate.public.charts import in_parts, together
from vpngate.public.rendering import html
from vpngate.public.transparency import public_state

# An answer to `status`, or a report.
State = Callable[[], Awaitable[Mapping[str, Any]]]

_PARTS = 6  # of the hour, in numbers
_MOST_ROWS = 24  # tunnels that are told one by one, those with most flows first


def status_json(state: State) -> PageHandler:
    """`/status.json`: the state as programs read it, without what is not for all."""
    return _shared(state, lambda whole: _json(public_state(whole)))


def report_json(report: State) -> PageHandler:
    """`/report.json`: the transparency report, by docs/report.schema.json."""
    return _shared(report, _json)


def status_page(report: State) -> PageHandler:
    """`/`: the report as people read it, and where to register or to complain."""
    return _shared(report, _page)


def _page(report: Mapping[str, Any]) -> Response:
    busiest = sorted(
        report["tunnels"].values(),
        key=lambda one: (-one["up"], -sum(one["flows"].values()), one["name"]),
    )
    names = {one["name"]: key for key, one in report["tunnels"].items()}
    shown = sorted(busiest[:_MOST_ROWS], key=lambda one: str(one["name"]).lower())
    return html(
        "status",
        report=report,
        shown=shown,
        keys=names,
        rest=busiest[_MOST_ROWS:],
        hour_rows=[*_in_rows(report["last_hour"])],
    )


def _in_rows(hour: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The hour as a table has it, the latest part first."""
    flows, octets = hour["flows"].values(), hour["bytes"]
    columns = [
        (together([c for one in flows for c in one.values()]), "number"),
        (together([one["throttle"] for one in flows]), "number"),
        (together([*octets.get("all", {}).values()]), "bytes"),
        (together([*octets.get("slowed", {}).values()]), "bytes"),
    ]
    parts = [in_parts(column, _PARTS) for column, _ in columns]
    size = hour["minutes"] // _PARTS
    for place in reversed(range(_PARTS)):
        since = size * (_PARTS - place)
        cells = [
            (part[place] if part else None, kind)
            for part, (_, kind) in zip(parts, columns, strict=True)
        ]
        yield {"from": since, "to": since - size, "cells": cells}


def _json(whole: Mapping[str, Any]) -> Response:
    body = json.dumps(whole, default=str).encode()
    return Response(HTTPStatus.OK, body, "application/json")


def _shared(
    state: State, render: Callable[[Mapping[str, Any]], Response]
) -> PageHandler:
    """The answer that shows a state, made once for all who got the same one."""
    latest: tuple[Mapping[str, Any], Response] | None = None

    async def page(_request: Request) -> Response:
        nonlocal latest
        whole = await state()
        if latest is None or latest[0] is not whole:
            latest = (whole, render(whole))
        return latest[1]

    return page
