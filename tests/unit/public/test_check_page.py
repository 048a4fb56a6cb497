# SPDX-License-Identifier: GPL-2.0-or-later
"""The self-check: who is told what, and that nothing of a question stays behind."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest
from netaddr import IPNetwork

from tests.unit.daemon.gatehouse import CONFIG, NOW, snapshot
from tests.unit.public import sample
from tests.unit.public.test_address_standing import PROTECT, ROWS, kept
from tests.unit.public.test_status_page import Page, flat
from vpngate.errors import KernelRefused
from vpngate.http import Request, Response
from vpngate.http.hosts import anything
from vpngate.http.routing import Routing
from vpngate.packets import format_address, parse_address
from vpngate.public import check_page
from vpngate.public.address_standing import AddressStanding, standing_of
from vpngate.public.check_page import CheckAnswers, CheckPage
from vpngate.public.check_rate import CheckRate
from vpngate.public.question import AddressRange
from vpngate.public.transparency import transparency

FORM = "application/x-www-form-urlencoded"
PROXY, SLOWED, QUIET, MEMBER = "192.0.2.1", "100.64.1.2", "100.64.2.2", "203.0.113.7"
TRUSTED = [IPNetwork(each) for each in ("192.0.2.0/28", "127.0.0.0/8", "::1")]
OWN = parse_address("192.0.2.11")
STANDING = kept(snapshot(CONFIG + PROTECT, ROWS))


@dataclass
class Gateway:
    """What a check page asks; notes whose tunnels it was asked about."""

    slowed: set[str] = field(default_factory=lambda: {SLOWED, "2001:db8:64::2"})
    asked: list[str] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=sample.enforcing)
    rate: CheckRate = field(default_factory=CheckRate)
    trusted: list[IPNetwork] = field(default_factory=lambda: TRUSTED)
    failing: str = ""
    hanging: bool = False
    refusing: bool = False
    now: float = 0.0

    def __post_init__(self) -> None:
        answers = CheckAnswers(
            self.standing, self.is_slowed, lambda: self.trusted, OWN.__eq__
        )
        self.answers = answers
        page = CheckPage(answers, self.told, self.rate, lambda: self.now)
        self.routing = Routing(page.routes("/check"), anything)

    def standing(self, question: AddressRange) -> AddressStanding:
        if self.failing:
            raise ValueError(self.failing)
        return standing_of(question, STANDING, NOW, lambda s: s.registry.covered(NOW))

    async def is_slowed(self, address: bytes) -> bool:
        self.asked.append(format_address(address))
        if self.hanging:
            await asyncio.sleep(60)
        if self.refusing:
            raise KernelRefused("the table is gone")
        return format_address(address) in self.slowed

    async def told(self) -> dict[str, Any]:
        return self.report

    def _ask(self, request: Request) -> Response:
        return asyncio.run(self.routing.respond(request))

    def get(self, peer: str, **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._ask(Request("GET", "/check", "", named, peer=peer))

    def post(self, peer: str, typed: str, kind: str = FORM, **headers: str) -> Response:
        body = urlencode({"address": typed}).encode()
        return self.send(peer, body, kind, **headers)

    def send(self, peer: str, body: bytes, kind: str, **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named["content-type"] = kind
        return self._ask(Request("POST", "/check", "", named, body, peer=peer))


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def words(answer: Response) -> str:
    assert answer.content_type == "text/html; charset=utf-8"
    return flat(answer.body.decode())


CASES = [
    (MEMBER, "is registered: its tunnels are never slowed", "R-1 Range 203.0.113.0/24"),
    ("2001:db8:a::1", "is registered", "R-6 Range 2001:db8:a::/48"),
    ("::ffff:203.0.113.7", "203.0.113.7 is registered", "Until no end"),
    ("198.51.100.1", "is registered", "Have the registration renewed before it ends"),
    ("198.51.100.200", "still counts as registered", "Counts until 16 January 2027"),
    ("198.19.0.1", "still counts as registered", "Gone from the registry 14 January"),
    ("198.18.0.1", "is protected", "Nothing."),
    ("192.0.2.200", "is not registered", "It was, as R-LONG-PAST, until"),
    ("192.0.2.99", "is not registered yet", "From 20 January 2027"),
    ("203.0.112.1", "is not registered", "One end of the tunnel is enough"),
    ("10.1.2.3", "is not registered", "address of a private network"),
]


@pytest.mark.parametrize(("address", "headline", "detail"), CASES)
def test_a_caller_learns_what_is_registered_for_him(
    gateway: Gateway, address: str, headline: str, detail: str
) -> None:
    said = words(gateway.get(address))
    assert headline in said
    assert detail in said
    assert "Your address" in said
    assert "No VPN tunnel of your address is slowed now." in said


@pytest.mark.parametrize(("address", "headline", "detail"), CASES)
def test_whoever_types_an_address_learns_the_same_of_it(
    gateway: Gateway, address: str, headline: str, detail: str
) -> None:
    said = words(gateway.post(QUIET, address))
    assert headline in said
    assert detail in said
    assert "Your address" not in said
    assert "slowed now" not in said.partition("What this gateway does")[0]
    assert gateway.asked == []


@pytest.mark.parametrize(
    ("typed", "headline"),
    [
        ("203.0.113.0/25", "203.0.113.0/25 is registered"),
        ("198.51.100.0/24", "All of 198.51.100.0/24 is registered or protected"),
        ("203.0.112.0/23", "Only part of 203.0.112.0/23"),
        ("2001:db8:b::/48", "2001:db8:b::/48 is not registered"),
    ],
)
def test_a_prefix_is_answered_as_a_whole(
    gateway: Gateway, typed: str, headline: str
) -> None:
    assert headline in words(gateway.post(QUIET, typed))


YES = "A VPN tunnel of your address is slowed now."


@pytest.mark.parametrize("peer", [SLOWED, f"::ffff:{SLOWED}", "2001:db8:64::2"])
def test_a_caller_learns_that_a_tunnel_of_his_own_is_slowed(
    gateway: Gateway, peer: str
) -> None:
    assert YES in words(gateway.get(peer))
    typed = peer.removeprefix("::ffff:")
    assert YES in words(gateway.post(peer, typed))
    assert YES in words(gateway.post(peer, peer))
    assert gateway.asked == [typed] * 3


@pytest.mark.parametrize(
    "typed",
    [SLOWED, f"::ffff:{SLOWED}", f"{SLOWED}/32", "100.64.1.0/24", "2001:db8:64::2"],
)
def test_nobody_learns_whether_anothers_is(gateway: Gateway, typed: str) -> None:
    """The answer is the same, to the byte, whoever has a tunnel; nobody is asked."""
    forged = {"x_forwarded_for": SLOWED, "forwarded": f"for={SLOWED}"}
    with_tunnel = [gateway.post(QUIET, typed), gateway.post(QUIET, typed, **forged)]
    gateway.slowed.clear()
    without = [gateway.post(QUIET, typed), gateway.post(QUIET, typed, **forged)]
    assert [a.body for a in with_tunnel] == [a.body for a in without]
    assert gateway.asked == []


def test_a_prefix_around_the_caller_is_not_his_own_address(gateway: Gateway) -> None:
    assert "slowed now" not in words(gateway.post(SLOWED, "100.64.1.0/30"))
    assert gateway.asked == []


def test_behind_a_trusted_proxy_the_forwarded_address_counts(gateway: Gateway) -> None:
    said = words(gateway.get(PROXY, x_forwarded_for=SLOWED))
    assert YES in said
    assert f"Your address {SLOWED}" in said
    assert YES in words(gateway.get(PROXY, forwarded=f'for="{SLOWED}:4711"'))
    # What the caller himself wrote stands before what the proxy added.
    said = words(gateway.get(PROXY, x_forwarded_for=f"{SLOWED}, {QUIET}"))
    assert f"Your address {QUIET}" in said


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.2", "192.0.2.10"),
        ("::1", "::1"),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
        (PROXY, PROXY),
        (PROXY, f"::ffff:{PROXY}"),
        ("192.0.2.11", "192.0.2.10"),
    ],
)
@pytest.mark.parametrize("typed", [None, SLOWED])
def test_no_user_of_the_machine_learns_of_tunnels_as_its_proxy(
    gateway: Gateway, peer: str, local: str, typed: str | None
) -> None:
    """Every account on it can connect from there, and write any header."""
    named = {"x-forwarded-for": SLOWED, "content-type": FORM}
    body = b"" if typed is None else urlencode({"address": typed}).encode()
    method = "GET" if typed is None else "POST"
    request = Request(method, "/check", "", named, body, peer=peer, local=local)
    answers = [asyncio.run(gateway.routing.respond(request))]
    gateway.slowed.clear()
    answers.append(asyncio.run(gateway.routing.respond(request)))
    assert answers[0].body == answers[1].body
    assert f"Your address {SLOWED} is not registered" in words(answers[0])
    assert "is not told here" in words(answers[0])
    assert gateway.asked == []


def test_who_asks_for_himself_on_the_machine_is_answered() -> None:
    gateway = Gateway(slowed={"192.0.2.99"})
    request = Request("GET", "/check", "", {}, peer="192.0.2.99", local="192.0.2.99")
    assert YES in words(asyncio.run(gateway.routing.respond(request)))


@pytest.mark.parametrize("headers", [{}, {"x_forwarded_for": "unknown"}])
def test_who_cannot_be_told_is_nobody(
    gateway: Gateway, headers: dict[str, str]
) -> None:
    said = words(gateway.get(PROXY, **headers))
    assert "Where you come from cannot be told" in said
    assert "Your address" not in said
    assert "slowed now" not in words(gateway.post(PROXY, PROXY, **headers))
    assert gateway.asked == []


def test_a_forged_header_of_a_stranger_is_ignored(gateway: Gateway) -> None:
    said = words(gateway.get(QUIET, x_forwarded_for=SLOWED, forwarded=f"for={SLOWED}"))
    assert f"Your address {QUIET}" in said
    assert SLOWED not in said
    assert gateway.asked == [QUIET]


def test_who_is_registered_is_not_looked_up_in_what_is_slowed(gateway: Gateway) -> None:
    gateway.slowed.add(MEMBER)
    assert "No VPN tunnel of your address is slowed now" in words(gateway.get(MEMBER))
    assert gateway.asked == []


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("", "Type an IPv4 or IPv6 address"),
        ("vpn.example.net", "“vpn.example.net” is no address."),
        ("fe80::1%eth0", "Leave out the % sign"),
        ("203.0.113.7:1194", "Leave out brackets and port"),
        ("a" * 3000, "That is too long"),
        ("\r\nSet-Cookie: a=b", r"“Set-Cookie: a=b” is no address"),
        ('"><script>alert(1)</script>', "is no address"),
    ],
)
def test_nonsense_is_answered_by_one_clear_line(
    gateway: Gateway, typed: str, line: str
) -> None:
    answer = gateway.post(QUIET, typed)
    assert answer.status == 400
    assert "That cannot be looked up" in words(answer)
    assert line in words(answer).replace("&#34;", '"')
    page = Page(answer.body.decode())
    assert page.all("script") == []
    assert page.unbalanced == page.open == []
    (field,) = page.all("input")
    assert field["value"] == typed
    assert (field["aria-invalid"], field["aria-describedby"]) == ("true", "wrong")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"other=203.0.113.7",
        b"=",
        b"&" * 4000,
        b"address",
        b"\xff\xfe=%zz",
        b"a=b" * 9,
    ],
)
def test_a_form_without_the_field_is_an_empty_one(
    gateway: Gateway, body: bytes
) -> None:
    answer = gateway.send(QUIET, body, FORM)
    assert answer.status == 400
    assert "Type an IPv4 or IPv6 address" in words(answer)


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/json", "multipart/form-data"]
)
def test_only_a_form_is_taken(gateway: Gateway, kind: str) -> None:
    assert gateway.post(QUIET, MEMBER, kind).status == 415
    assert gateway.post(QUIET, MEMBER, f"{FORM}; charset=UTF-8").status == 200


def test_an_address_in_the_query_is_not_looked_at(gateway: Gateway) -> None:
    request = Request("GET", "/check", f"address={SLOWED}", {}, peer=QUIET)
    answer = asyncio.run(gateway.routing.respond(request))
    assert SLOWED not in words(answer)
    assert f"Your address {QUIET}" in words(answer)


def test_no_answer_is_kept_by_a_browser_or_a_proxy(gateway: Gateway) -> None:
    for answer in (
        gateway.get(QUIET),
        gateway.post(QUIET, ""),
        gateway.send(QUIET, b"", ""),
    ):
        head = answer.head.decode()
        assert "Cache-Control: no-store" in head
        assert "Referrer-Policy: no-referrer" in head


def test_a_daemon_that_does_not_answer_is_said(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_page, "PATIENCE", 0.01)
    gateway.hanging = True
    said = words(gateway.get(SLOWED))
    assert "cannot be told at this moment" in said


def test_so_is_a_kernel_that_does_not(gateway: Gateway) -> None:
    gateway.refusing = True
    answer = gateway.get(SLOWED)
    assert answer.status == 200
    assert "cannot be told at this moment" in words(answer)


def test_nothing_of_a_question_is_logged_even_where_it_fails(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for answer in (
        gateway.get(SLOWED),
        gateway.post(QUIET, MEMBER),
        gateway.post(QUIET, "x"),
    ):
        assert answer.status in {200, 400}
    assert [r for r in caplog.records if r.name.startswith("vpngate")] == []
    gateway.failing = f"cannot look {MEMBER} up"
    assert gateway.post(QUIET, MEMBER).status == 500
    assert "page /check failed: ValueError" in caplog.text
    for address in (MEMBER, QUIET, SLOWED):
        assert address not in caplog.text


def test_what_it_would_slow_depends_on_whether_it_acts() -> None:
    acting, watching = Gateway(), Gateway(report=sample.watching())
    unless = "it is slowed to 5 Mbit/s unless its other end is registered"
    assert unless in words(acting.get(QUIET))
    assert "it is not slowed at the moment, and never blocked" in words(
        watching.get(QUIET)
    )
    assert "only observes" in words(watching.get(QUIET))
    tenth = sample.facts(stance=sample.stance(share=10))
    some = words(Gateway(report=transparency(sample.state(), tenth)).get(QUIET))
    assert "it may be slowed to 5 Mbit/s unless its other end is" in some


@pytest.mark.parametrize("peer", [MEMBER, SLOWED, PROXY, "127.0.0.1"])
def test_its_page_is_as_sound_as_the_other(gateway: Gateway, peer: str) -> None:
    answer = gateway.get(peer)
    page = Page(answer.body.decode())
    assert page.unbalanced == page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert len(answer.body) < 20_000
    for landmark in ("header", "main", "footer", "h1", "form"):
        assert len(page.all(landmark)) == 1
    (label,) = page.all("label")
    assert label["for"] in page.ids
    assert "style-src 'sha256-" in answer.head.decode()


def test_the_machine_itself_is_told_why() -> None:
    gateway = Gateway(trusted=[])
    assert "you are on it, or behind a proxy" in words(gateway.get("127.0.0.1"))
