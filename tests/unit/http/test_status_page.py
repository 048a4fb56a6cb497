# SPDX-License-Identifier: GPL-2.0-or-later
"""The page for everybody says what is slowed, how much, and where to complain."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from vpngate.http.request_response import Request
from vpngate.http.status_page import Links, status_json, status_page

STATE: dict[str, Any] = {
    "mode": "enforce",
    "throttled": {"limit": "5mbit"},
    "flows": {
        "wireguard": {"verdicts": {"allow": 3, "throttle": 2}},
        "ipsec": {"verdicts": {"allow": 4, "none": 1}},
    },
    "registry": {"prefixes": {"ipv4": 20, "ipv6": 5}},
}


def page(state: Mapping[str, Any] = STATE, url: str = "", contact: str = "") -> str:
    async def now() -> Mapping[str, Any]:
        return state

    handler = status_page(now, lambda: Links(url, contact))
    answer = asyncio.run(_answer(handler))
    assert answer.content_type == "text/html; charset=utf-8"
    text: str = answer.body.decode()
    return text


async def _answer(handler: Any) -> Any:
    return await handler(Request("GET", "/", "", {}))


def test_it_counts_each_class_over_all_tunnels() -> None:
    text = page()
    assert "<tr><td>allow<td>7<td>" in text
    assert "<tr><td>throttle<td>2<td>" in text
    assert "<tr><td>none<td>1<td>" in text
    assert "slowed to 5mbit" in text
    assert "25 prefixes" in text


def test_it_says_that_observing_slows_nothing() -> None:
    text = page(STATE | {"mode": "observe"})
    assert "nothing is slowed" in text
    assert "slowed while this gateway enforces, never blocked" in text
    assert "limit" not in text


def test_links_are_shown_where_they_are_configured_and_cannot_break_the_page() -> None:
    assert "href" not in page()
    text = page(url='https://example.net/?a=1&b="', contact="<noc@example.net>")
    assert 'href="https://example.net/?a=1&amp;b=&quot;"' in text
    assert "&lt;noc@example.net&gt;" in text


def test_programs_get_the_same_as_json() -> None:
    async def now() -> Mapping[str, Any]:
        return STATE

    answer = asyncio.run(_answer(status_json(now)))
    assert json.loads(answer.body) == STATE


def test_what_names_servers_and_prefixes_is_not_for_everybody() -> None:
    told = {
        "last_refusal": "https://r.example.net: sentinel 192.0.2.0/24 is missing",
        "sources_passed_over": ["https://s.example.net: answers 404"],
    }

    async def now() -> Mapping[str, Any]:
        return STATE | {"registry": STATE["registry"] | told}

    answer = asyncio.run(_answer(status_json(now)))
    assert json.loads(answer.body) == STATE
