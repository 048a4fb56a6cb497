# SPDX-License-Identifier: GPL-2.0-or-later
"""The self-check when many ask, or one asks much: nobody is kept out by another."""

import asyncio
import threading
import time
from urllib.parse import urlencode

import pytest

from tests.unit.public.test_check_page import (
    FORM,
    MEMBER,
    PROXY,
    QUIET,
    SLOWED,
    Gateway,
)
from vpngate.http import Request, Response
from vpngate.http.hosts import anything
from vpngate.http.routing import Routing
from vpngate.public import check_page
from vpngate.public.address_standing import AddressStanding
from vpngate.public.check_page import CheckPage
from vpngate.public.check_rate import CheckRate, Refill
from vpngate.public.question import AddressRange


def test_it_is_answered_so_often_and_no_more() -> None:
    gateway = Gateway(rate=CheckRate(Refill(3, 1), Refill(100, 1)))
    statuses = [gateway.get(QUIET).status for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    refused = gateway.post(QUIET, MEMBER)
    assert refused.status == 429
    assert refused.headers["Retry-After"] == "60"
    assert gateway.get(SLOWED).status == 200
    gateway.now += 2
    assert gateway.get(QUIET).status == 200


def test_a_proxy_is_not_limited_as_if_it_were_one_caller() -> None:
    gateway = Gateway(rate=CheckRate(Refill(1, 0.01), Refill(100, 1)))
    for number in range(10):
        field = f"100.64.3.{number}"
        assert gateway.get(PROXY, x_forwarded_for=field).status == 200
    assert gateway.get(PROXY, x_forwarded_for="100.64.3.1").status == 429
    # Of IPv6 a /48 is one caller: homes get a /56, and no more than that.
    assert gateway.get("2001:db8:64::1").status == 200
    assert gateway.get("2001:db8:64:ff::2").status == 429
    assert gateway.get("2001:db8:65::1").status == 200


def test_one_subscriber_does_not_close_it_for_everybody() -> None:
    """As many /64s as a home has, and as fast as can be."""
    gateway = Gateway()
    asked = [gateway.post(f"2001:db8:64:{n:x}::1", "0.0.0.0/0") for n in range(256)]
    assert sum(answer.status == 200 for answer in asked) == 30
    assert gateway.post(QUIET, "203.0.112.0/23").status == 200


def test_prefixes_that_many_ask_about_do_not_close_it_for_addresses() -> None:
    gateway = Gateway(rate=CheckRate(Refill(5, 1), Refill(10, 1)))
    several = [gateway.post(f"100.64.3.{n}", "0.0.0.0/0").status for n in range(20)]
    assert several == [200] * 10 + [429] * 10
    assert gateway.post(QUIET, "203.0.112.0/23").status == 429
    assert gateway.get(QUIET).status == 200
    assert gateway.post(QUIET, MEMBER).status == 200


def test_who_asked_is_forgotten_also_if_nobody_else_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check_page, "_SELDOM", 0.01)
    rate = CheckRate(Refill(1, 20), Refill(100, 1))
    page = CheckPage(Gateway().answers, Gateway().told, rate)
    routing = Routing(page.routes("/check"), anything)

    async def asked_and_waited() -> None:
        for _ in "12":  # the second time all was forgotten
            for number in range(3):
                peer = f"100.64.3.{number}"
                request = Request("GET", "/check", "", {}, peer=peer)
                assert (await routing.respond(request)).status == 200
            assert len(rate)
            for _ in range(3000):  # a minute at most
                if not len(rate):
                    break
                await asyncio.sleep(0.02)
            assert len(rate) == 0

    asyncio.run(asked_and_waited())


def test_one_that_nobody_waits_for_any_more_is_still_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its thread goes on: the next one waits, and is told that there is no room."""
    monkeypatch.setattr(check_page, "PATIENCE", 0.05)
    gateway = Gateway()
    free, begun = threading.Event(), []
    look_up = gateway.standing

    def slow(question: AddressRange) -> AddressStanding:
        begun.append(question)
        free.wait(60)
        return look_up(question)

    monkeypatch.setattr(gateway, "standing", slow)
    gateway.__post_init__()
    body = urlencode({"address": "203.0.112.0/23"}).encode()
    request = Request("POST", "/check", "", {"content-type": FORM}, body, peer=QUIET)

    async def several() -> list[Response]:
        try:
            return [await gateway.routing.respond(request) for _ in "123"]
        finally:
            free.set()

    async def and_later() -> tuple[list[Response], Response]:
        late = await several()
        monkeypatch.setattr(check_page, "PATIENCE", 60)
        return late, await gateway.routing.respond(request)

    late, last = asyncio.run(and_later())
    assert [answer.status for answer in late] == [503] * 3
    assert last.status == 200
    assert len(begun) == 2


def test_prefixes_are_looked_up_one_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each may take a second where a registry is large: many take no more cores."""
    gateway = Gateway()
    under_way, most = 0, 0
    look_up = gateway.standing

    def slow(question: AddressRange) -> AddressStanding:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        time.sleep(0.01)
        under_way -= 1
        return look_up(question)

    monkeypatch.setattr(gateway, "standing", slow)
    gateway.__post_init__()

    async def many() -> list[Response]:
        body = urlencode({"address": "203.0.112.0/23"}).encode()
        request = Request(
            "POST", "/check", "", {"content-type": FORM}, body, peer=QUIET
        )
        return await asyncio.gather(
            *(gateway.routing.respond(request) for _ in "12345")
        )

    assert {answer.status for answer in asyncio.run(many())} == {200}
    assert most == 1
