# SPDX-License-Identifier: GPL-2.0-or-later
"""The pages as people meet them: phone, desktop, dark, paper, keyboard, no script.

Each run leaves pictures in `pictures/`: they are to be looked at.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.devtools import Tab
from tests.browser.showcase import Showcase
from tests.unit.public import sample

NAMES = ("enforcing", "observing", "halted", "stale", "suspended", "young", "crowded")
DEVICES = ("phone", "desktop", "dark")
# All rules of axe-core but those that are for authors' taste, and the size of targets.
_RUN = """axe.run(document, {
  resultTypes: ["violations"],
  rules: {"target-size": {enabled: true}}
}).then(found => found.violations.map(each => [
  each.id, each.help, each.nodes.map(node => node.html)
]))"""


def as_device(tab: Tab, device: str) -> None:
    if device == "phone":
        tab.on_phone()
    else:
        tab.on_desktop()
    tab.with_media(prefers_color_scheme="dark" if device == "dark" else "light")


def violations(tab: Tab, axe: str) -> Any:
    tab.do(axe)
    assert tab.do("typeof axe.run") == "function"
    return tab.do(_RUN)


def fits(tab: Tab) -> bool:
    """Whether nothing is wider than the window, nor a table than its place."""
    wide = tab.do(
        "Math.max(document.documentElement.scrollWidth - innerWidth,"
        " ...[...document.querySelectorAll('.scroll')]"
        ".map(e => e.scrollWidth - e.clientWidth))"
    )
    return bool(wide <= 0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NAMES)
def test_the_status_page(
    tab: Tab, gateway: Showcase, axe: str, pictures: Path, *, name: str, device: str
) -> None:
    gateway.report = sample.ALL[name]()
    as_device(tab, device)
    tab.open(gateway.url())
    assert {*tab.requested()} <= {gateway.url(), gateway.url("/favicon.ico")}
    tab.picture(pictures / f"status-{name}-{device}.png")
    assert fits(tab)
    assert violations(tab, axe) == []
    assert [c for c in tab.complaints() if "404" not in c] == []


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("own", ""),
        ("registered", "203.0.113.7"),
        ("ending", "198.51.100.1"),
        ("grace", "198.51.100.200"),
        ("protected", "2001:db8:77::1"),
        ("later", "192.0.2.1"),
        ("unregistered", "2001:db8:b:1234:5678:9abc:def0:1"),
        ("prefix", "203.0.112.0/23"),
        ("nonsense", "my company's VPN"),
    ],
)
def test_the_self_check(
    tab: Tab,
    gateway: Showcase,
    axe: str,
    pictures: Path,
    *,
    name: str,
    typed: str,
    device: str,
) -> None:
    gateway.report, gateway.slowed = sample.enforcing(), name == "own"
    as_device(tab, device)
    tab.open(gateway.url("/check"))
    if typed:
        tab.do(f"document.querySelector('input').value = {json.dumps(typed)}")
        tab.do("document.querySelector('form').submit()")
        tab.loaded()
    tab.picture(pictures / f"check-{name}-{device}.png")
    assert fits(tab)
    assert violations(tab, axe) == []
    mine = [c for c in tab.complaints() if "404" not in c and "400" not in c]
    assert mine == []


def test_a_phone_shows_letters_that_can_be_read(tab: Tab, gateway: Showcase) -> None:
    gateway.report = sample.enforcing()
    tab.on_phone()
    for path in ("/", "/check"):
        tab.open(gateway.url(path))
        assert tab.do("innerWidth") == 390
        assert tab.do("devicePixelRatio") == 3
        smallest = tab.do(
            "Math.min(...[...document.querySelectorAll('body *')].filter(e =>"
            " e.innerText && e.childElementCount == 0)"
            ".map(e => parseFloat(getComputedStyle(e).fontSize)))"
        )
        assert smallest >= 13
        assert tab.do("parseFloat(getComputedStyle(document.body).fontSize)") == 16


def test_dark_is_dark(tab: Tab, gateway: Showcase) -> None:
    def paper() -> list[int]:
        colour = tab.do("getComputedStyle(document.body).backgroundColor")
        return [*map(int, re.findall(r"\d+", colour))]

    as_device(tab, "desktop")
    tab.open(gateway.url())
    assert min(paper()) > 200
    as_device(tab, "dark")
    assert max(paper()) < 60


@pytest.mark.parametrize("path", ["/", "/check"])
def test_paper(tab: Tab, gateway: Showcase, pictures: Path, path: str) -> None:
    gateway.report = sample.enforcing()
    as_device(tab, "desktop")
    tab.open(gateway.url(path))
    name = "status" if path == "/" else "check"
    printed = tab.paper(pictures / f"{name}.pdf")
    assert 1 <= len(re.findall(rb"/Type ?/Page\b", printed)) <= 5
    tab.with_media("print")
    tab.picture(pictures / f"{name}-print.png")
    hidden = (
        "[...document.querySelectorAll('nav, form, .skip')].every(e => !e.offsetParent)"
    )
    assert tab.do(hidden)
    assert tab.do("document.querySelector('table, dl, p').offsetHeight") > 0


def test_without_script_all_of_it_is_there(
    tab: Tab, gateway: Showcase, pictures: Path
) -> None:
    gateway.report = sample.enforcing()
    tab.on_phone()
    tab.open(gateway.url())
    with_script = tab.source()
    tab.without_script()
    tab.open(gateway.url())
    assert tab.source() == with_script
    tab.picture(pictures / "status-noscript-phone.png")
    tab.open(gateway.url("/check"))
    for _ in range(4):  # skip link, the way back, where to register, the field
        tab.press("Tab")
    tab.type("203.0.113.7")
    tab.press("Enter")
    tab.loaded()
    assert "203.0.113.7 is registered" in tab.source()
    tab.picture(pictures / "check-noscript-phone.png")


def test_the_keyboard_alone_leads_to_an_answer(
    tab: Tab, gateway: Showcase, pictures: Path
) -> None:
    gateway.report = sample.enforcing()
    as_device(tab, "desktop")
    tab.open(gateway.url())
    walked: list[str] = []
    while walked[-1:] != ["Check my address"]:
        tab.press("Tab")
        walked.append(focused(tab))
        assert len(walked) < 10, walked
    assert walked == ["Skip to the content", "Check my address"]
    tab.picture(pictures / "keyboard-status.png")
    tab.press("Enter")
    tab.loaded()
    assert tab.do("location.pathname") == "/check"
    walked.clear()
    while tab.do("document.activeElement.id") != "address":
        tab.press("Tab")
        walked.append(focused(tab))
        assert len(walked) < 10, walked
    tab.type("198.51.100.200")
    tab.press("Tab")
    assert focused(tab) == "Check"
    tab.picture(pictures / "keyboard-check.png")
    tab.press("Enter")
    tab.loaded()
    answer = tab.do("document.querySelector('h2').innerText")
    assert answer == "198.51.100.200 was registered, and still counts as registered."
    assert tab.do("document.title").startswith("198.51.100.200 was registered")


def focused(tab: Tab) -> str:
    """What has the focus, which can be seen."""
    seen = tab.do(
        "(e => { const style = getComputedStyle(e), box = e.getBoundingClientRect();"
        " return style.outlineStyle != 'none' && box.width > 0 && box.left >= 0 })"
        "(document.activeElement)"
    )
    assert seen, tab.do("document.activeElement.outerHTML")
    return str(tab.do("document.activeElement.innerText"))


def test_the_whole_of_it_can_be_walked_by_keyboard(tab: Tab, gateway: Showcase) -> None:
    gateway.report = sample.enforcing()
    as_device(tab, "desktop")
    tab.open(gateway.url())
    count = tab.do("document.querySelectorAll('a, button, input, [tabindex]').length")
    walked = set()
    for _ in range(count):
        tab.press("Tab")
        focused(tab)
        walked.add(tab.do("document.activeElement.outerHTML.slice(0, 200)"))
    assert len(walked) == count


def test_a_screen_reader_is_told_all_of_it(tab: Tab, gateway: Showcase) -> None:
    gateway.report = sample.enforcing()
    as_device(tab, "desktop")
    tab.open(gateway.url())
    spoken = tab.spoken()
    by_role: dict[str, list[str]] = {}
    for role, name in spoken:
        by_role.setdefault(role, []).append(name)
    for landmark in ("banner", "navigation", "main", "contentinfo"):
        assert len(by_role[landmark]) == 1, landmark
    assert "VPN tunnels on this gateway" in by_role["heading"]
    charts = by_role.get("image", []) + by_role.get("img", [])
    assert "WireGuard tunnels recognised, by the minute" in charts
    assert "All traffic, by the minute" in charts
    tables = by_role["table"]
    assert len(tables) == 3
    assert all(tables)
    assert {"columnheader", "rowheader"} <= set(by_role)
    tab.open(gateway.url("/check"))
    fields = [name for role, name in tab.spoken() if role == "textbox"]
    assert fields == [
        "An address or a prefix, for instance of the other end of your tunnel"
    ]


def test_axe_finds_what_is_wrong(tab: Tab, gateway: Showcase, axe: str) -> None:
    """The look has teeth: a page made worse is found."""
    tab.open(gateway.url("/check"))
    tab.do("document.querySelector('label').remove()")
    tab.do("document.documentElement.removeAttribute('lang')")
    found = {each[0] for each in violations(tab, axe)}
    assert {"label", "html-has-lang"} <= found
