# SPDX-License-Identifier: GPL-2.0-or-later
"""The page for everybody: which classes exist, what they mean, how many are in each.

Knows HTML; does not know how anything is counted. It needs no script, loads nothing
from elsewhere, and names no address, prefix or registration.
"""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from html import escape
from http import HTTPStatus
from typing import Any, NamedTuple

from vpngate.http.request_response import Request, Response
from vpngate.http.routing import PageHandler

State = Callable[[], Awaitable[Mapping[str, Any]]]


class Links(NamedTuple):
    """Where the operator wants people to go; "" for nowhere."""

    registration_url: str = ""
    contact: str = ""


_CLASSES = {
    "allow": "Registered, at either end: left alone, always.",
    "throttle": "An unregistered tunnel, recognised by its own standard handshake: "
    "slowed while this gateway enforces, never blocked.",
    "none": "Only the first half of a handshake was seen: left alone.",
}
# Of the registry, what names files, servers and prefixes is for `vpngate status`.
_PRIVATE = frozenset({"last_refusal", "sources_passed_over"})
_STYLE = "body{font:16px/1.5 sans-serif;max-width:45em;margin:2em auto;padding:0 1em}"
_STYLE += "td,th{padding:.2em 1em .2em 0;text-align:left;vertical-align:top}"


def status_json(state: State) -> PageHandler:
    """`/status.json`: the state as programs read it, without what is not for all."""

    async def page(_request: Request) -> Response:
        return rendered(await state(), Links())

    def render(whole: Mapping[str, Any], _links: Links) -> Response:
        registry = {k: v for k, v in whole["registry"].items() if k not in _PRIVATE}
        public = {**whole, "registry": registry}
        body = json.dumps(public, default=str).encode()
        return Response(HTTPStatus.OK, body, "application/json")

    rendered = _Rendered(render)
    return page


def status_page(state: State, links: Callable[[], Links]) -> PageHandler:
    """`/`: the state as people read it, and where to register or to complain.

    `links` are asked for at each request: they may change meanwhile.
    """

    async def page(_request: Request) -> Response:
        return rendered(await state(), links())

    def render(whole: Mapping[str, Any], links: Links) -> Response:
        body = "\n".join(_lines(whole, *links))
        return Response(HTTPStatus.OK, body.encode(), "text/html; charset=utf-8")

    rendered = _Rendered(render)
    return page


class _Rendered:
    """The answer that shows a state, made once for all who got the same one."""

    def __init__(self, render: Callable[[Mapping[str, Any], Links], Response]) -> None:
        self._render = render
        self._latest: tuple[Mapping[str, Any], Links, Response] | None = None

    def __call__(self, state: Mapping[str, Any], links: Links) -> Response:
        latest = self._latest
        if latest is None or latest[0] is not state or latest[1] != links:
            self._latest = latest = (state, links, self._render(state, links))
        return latest[2]


def _lines(state: Mapping[str, Any], url: str, contact: str) -> Iterator[str]:
    yield "<!doctype html><html lang=en><meta charset=utf-8>"
    yield f"<title>vpngate</title><style>{_STYLE}</style>"
    yield "<h1>VPN tunnels on this gateway</h1>"
    if state["mode"] == "enforce":
        limit = escape(str(state["throttled"]["limit"]))
        yield f"<p>Unregistered tunnels are slowed to {limit} a subscriber and"
        yield "direction. Nothing is blocked, and no other traffic is touched.</p>"
    else:
        foreseen = (state.get("enforcing_would_have") or {}).get("slowed_flows", {})
        yield "<p>This gateway observes: nothing is slowed. If it enforced,"
        yield f"it would have slowed {sum(foreseen.values())} flows since it began.</p>"
    yield "<table><tr><th>Class<th>Flows so far<th>What it means"
    for name, meaning in _CLASSES.items():
        total = sum(each["verdicts"].get(name, 0) for each in state["flows"].values())
        yield f"<tr><td>{name}<td>{total}<td>{meaning}"
    yield "</table>"
    prefixes = sum(state["registry"]["prefixes"].values())
    yield f"<p>The registry in force holds {prefixes} prefixes.</p>"
    if url:
        yield f'<p><a href="{escape(url)}">Register a range of addresses</a></p>'
    if contact:
        yield f"<p>Something is wrong? {escape(contact)}</p>"
    yield "</html>"
