# SPDX-License-Identifier: GPL-2.0-or-later
"""The page for everybody: what it says, and that anybody can read it, by any means."""

import asyncio
import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from tests.unit.public import sample
from vpngate.http import Request, Response
from vpngate.public.status_page import report_json, status_json, status_page
from vpngate.public.transparency import transparency

MOST = 60_000  # bytes of the whole page
_VOID = {"meta", "input", "path", "br"}


class Page(HTMLParser):
    """A page taken apart: every element, its attributes, its ancestors, its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str], tuple[str, ...]]] = []
        self.texts: list[tuple[str, str]] = []
        self.unbalanced: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.elements.append((tag, values, tuple(self.open)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [values for name, values, _ in self.elements if name == tag]

    def text_of(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag and text]

    @property
    def ids(self) -> list[str]:
        return [values["id"] for _, values, _ in self.elements if "id" in values]


def answer(report: Mapping[str, Any]) -> Response:
    async def now() -> Mapping[str, Any]:
        return report

    return asyncio.run(_got(status_page(now)))


async def _got(handler: Any) -> Response:
    got = await handler(Request("GET", "/", "", {}))
    assert isinstance(got, Response)
    return got


def shown(report: Mapping[str, Any]) -> str:
    got = answer(report)
    assert got.content_type == "text/html; charset=utf-8"
    return got.body.decode()


def flat(text: str) -> str:
    """The words of a page, without its marks."""
    bare = re.sub(r"<style>.*?</style>|<[^>]+>", " ", text, flags=re.DOTALL)
    return " ".join(bare.split())


@pytest.fixture(params=sample.ALL)
def report(request: pytest.FixtureRequest) -> dict[str, Any]:
    return sample.ALL[request.param]()


def test_it_is_small_and_asks_for_nothing_elsewhere(report: dict[str, Any]) -> None:
    got = answer(report)
    assert len(got.body) < MOST
    page = Page(got.body.decode())
    for _, values, _ in page.elements:
        assert {"src", "srcset", "data", "background", "style", "onclick"}.isdisjoint(
            values
        )
    assert page.all("script") == page.all("link") == page.all("img") == []
    assert not re.search(r"@import|url\(|@font-face", got.body.decode())
    # What leads away is for a person to follow.
    outside = [a["href"] for a in page.all("a") if "//" in a["href"]]
    assert set(outside) <= {report["register"]["url"]}


def test_the_browser_is_told_to_load_and_run_nothing(report: dict[str, Any]) -> None:
    head = answer(report).head.decode()
    (policy,) = re.findall("Content-Security-Policy: (.*)\r", head)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert "Cache-Control: no-store" in head


def test_its_marks_are_balanced_and_its_names_unique(report: dict[str, Any]) -> None:
    page = Page(shown(report))
    assert page.unbalanced == page.open == []
    assert len(page.ids) == len(set(page.ids))
    targets = {
        a["href"].removeprefix("#") for a in page.all("a") if a["href"][0] == "#"
    }
    named = {
        name
        for _, values, _ in page.elements
        for key in ("aria-labelledby", "aria-describedby", "for")
        for name in values.get(key, "").split()
    }
    assert targets | named <= set(page.ids)


def test_a_screen_reader_finds_its_way(report: dict[str, Any]) -> None:
    page = Page(shown(report))
    (html,) = page.all("html")
    assert html == {"lang": "en"}
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert len(page.all(landmark)) == 1, landmark
    levels = [int(t[1]) for t, _, _ in page.elements if re.fullmatch("h[1-6]", t)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(page.all("caption")) == len(page.all("table")) > 1
    assert all(th.get("scope") in {"row", "col"} for th in page.all("th"))
    charts = page.all("svg")
    assert charts
    assert all(c["role"] == "img" and c["aria-labelledby"] for c in charts)
    inside = [
        (tag, above) for tag, _, above in page.elements if tag in {"title", "desc"}
    ]
    assert sum("svg" in above for _, above in inside) == 2 * len(charts)
    assert all(text for text in page.text_of("desc"))


def test_a_phone_shows_it_as_wide_as_it_is(report: dict[str, Any]) -> None:
    page = Page(shown(report))
    (viewport,) = [
        m["content"] for m in page.all("meta") if m.get("name") == "viewport"
    ]
    assert viewport == "width=device-width, initial-scale=1"
    style = "".join(page.text_of("style"))
    assert "prefers-color-scheme:dark" in style
    assert "@media print" in style


def test_it_says_which_gateway_and_since_when() -> None:
    words = flat(shown(sample.enforcing()))
    assert "gw1.example.net, running vpngate 0.1.0 since 9 January 2027" in words
    assert "at 2 interfaces (1 more left alone)" in words


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("enforcing", "slows unregistered VPN tunnels to 5 Mbit/s"),
        ("observing", "only observes: nothing is slowed"),
        (
            "halted",
            "Since 12 January 2027, 08:00 UTC , because a packet of a registered or",
        ),
        ("stale", "The registry is not as fresh as it should be"),
        ("suspended", "asks that nobody be slowed: maintenance &lt;b&gt;of&lt;/b&gt;"),
    ],
)
def test_it_says_what_is_acted_on(name: str, said: str) -> None:
    others = {n for n in sample.ALL if n not in {name, "young", "crowded", "stale"}}
    assert said in flat(shown(sample.ALL[name]()))
    for other in others:
        assert said not in flat(shown(sample.ALL[other]()))


def test_it_counts_each_class_and_tells_what_it_means() -> None:
    words = flat(shown(sample.enforcing()))
    assert "Left alone One end of the tunnel is registered or protected." in words
    assert "always. 34,000 Unregistered An unregistered tunnel" in words
    assert "slowed, never blocked. 1,300 Not confirmed Only the first half" in words
    assert "It is left alone. 35 " in words
    assert "65 connections are in the slower class now" in words


@pytest.mark.parametrize("name", sample.ALL)
def test_what_was_judged_is_not_called_slowed(name: str) -> None:
    """It counts while nothing is acted on, and of subscribers that are not chosen."""
    page = shown(sample.ALL[name]())
    headings = re.findall(r"<th scope=.[^>]*>([^<]*)</th>", page)
    assert headings.count("Unregistered") == 3
    assert [one for one in headings if "slow" in one.lower()] == ["Slower class"]


def test_it_says_until_when_and_how_many() -> None:
    some = sample.facts(stance=sample.stance(share=10))
    words = flat(shown(transparency(sample.state(), some)))
    assert "acts on 10 % of the subscribers, chosen by lot" in words
    assert "chosen by lot" not in flat(shown(sample.enforcing()))


def test_it_says_where_and_which_end_to_register_and_how_soon_that_counts() -> None:
    words = flat(shown(sample.enforcing()))
    assert "One end of the tunnel is enough" in words
    assert "notices within about 1 hour, and running tunnels are freed at once" in words
    assert "Ask noc@example.net, +49 30 1234567." in words
    bare = sample.CONFIG.partition("registration_url")[0]
    report = transparency(sample.state(), sample.facts(bare))
    assert "Ask whoever runs this gateway where to register." in flat(shown(report))
    assert "https://" not in shown(report)


def test_links_and_words_from_outside_cannot_break_the_page() -> None:
    evil = "<script>alert(1)</script>\"'&"
    hostile = sample.CONFIG.replace("b=2", "b='<x>").replace("noc@", "<noc>")
    state = sample.state((evil, "wireguard"))
    state["registry"]["name"] = evil
    facts = sample.facts(hostile, gateway=evil, suspend=evil, stale=[evil])
    text = shown(transparency(state, facts))
    assert "<script" not in text
    assert "<noc>" not in text
    assert "&lt;noc&gt;" in text
    page = Page(text)
    assert page.unbalanced == page.open == []
    assert "https://register.example.net/ranges?a=1&b='<x>" in [
        a["href"] for a in page.all("a")
    ]


def test_what_is_not_known_is_no_zero() -> None:
    text = shown(sample.young())
    assert text.count(">not known<") == 5 * 4
    assert 'class="unknown" d="M0 39h228v1H0z"' in text
    assert 'class="unknown" d=""' in shown(sample.enforcing())


def test_of_many_kinds_the_busiest_are_shown_and_the_others_counted() -> None:
    report = sample.crowded()
    words = flat(shown(report))
    assert "kind-of-tunnel-499 511" in words
    assert "kind-of-tunnel-0 " not in words
    # Five that are configured have no flow.
    assert "481 other kinds" in words
    rest = sum(12 + n for n in range(500)) - sum(12 + n for n in range(476, 500))
    assert f"481 other kinds {rest:,} " in words
    assert "64 interfaces" in words


def test_page_report_and_status_are_one_truth() -> None:
    state = sample.state()
    report = transparency(state, sample.facts())
    words = flat(shown(report))
    for one in state["flows"].values():
        assert f" {one['confirmed']} " in words
    for verdict in sample.CLASSES:
        reached = sum(f["verdicts"][verdict] for f in state["flows"].values())
        assert report["classes"][verdict]["flows"] == reached
        assert f"{reached:,}" in words

    async def now() -> Mapping[str, Any]:
        return state

    programs = json.loads(asyncio.run(_got(status_json(now))).body)
    assert programs["flows"] == state["flows"]
    assert programs["registry"]["serial"] == report["registry"]["serial"] == 42
    assert "version 42" in words


def test_the_report_is_given_as_it_is() -> None:
    whole = sample.enforcing()

    async def now() -> Mapping[str, Any]:
        return whole

    got = asyncio.run(_got(report_json(now)))
    assert (got.content_type, json.loads(got.body)) == ("application/json", whole)


def test_it_is_written_once_for_all_who_got_the_same() -> None:
    whole = sample.enforcing()

    async def now() -> Mapping[str, Any]:
        return whole

    async def several() -> list[Response]:
        handler = status_page(now)
        return [await _got(handler) for _ in range(3)]

    first, *others = asyncio.run(several())
    assert all(other is first for other in others)


def test_what_names_servers_and_prefixes_is_not_for_everybody() -> None:
    told = {
        "last_refusal": "https://r.example.net: sentinel 192.0.2.0/24 is missing",
        "sources_passed_over": ["https://s.example.net: answers 404"],
        "what_comes_later": "https://t.example.net",
    }
    state = sample.state()
    state["registry"] |= told
    state["what_comes_later"] = "192.0.2.1"

    async def now() -> Mapping[str, Any]:
        return state

    text = asyncio.run(_got(status_json(now))).body.decode()
    text += json.dumps(transparency(state, sample.facts()))
    assert "192.0.2" not in text
    assert not re.search(r"//[rst]\.example", text)
