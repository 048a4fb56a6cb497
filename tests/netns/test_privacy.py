# SPDX-License-Identifier: GPL-2.0-or-later
"""No address of anybody in anything that vpngate says, writes or keeps.

    client ─ lan0 ─ gateway ─ wan1 ─ stranger

Marked addresses (`lab/marked.py`) open every tunnel in both families and send what is
none. Whatever can be seen of the daemon (`lab/seen.py`) is then searched, in every
spelling that `lab/traces.py` knows. One thing has addresses by its nature: the elements
of the verdict maps, which are the verdicts (live state holds what the kernel needs for
its timeout and no longer). They are looked at for being there, and nowhere else.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.lab import bpf_daemon, marked
from tests.lab.daemon import HARNESS, Daemon, daemon, enforcing_settings
from tests.lab.seen import everything, files, kernel
from tests.lab.topology import Lab
from tests.lab.traces import Traces
from tests.planes import PLANE
from vpngate.config import Plane
from vpngate.errors import VpngateError

ANY = Traces(*marked.MARKED)
_PORT = 9753
_WAYS = 4  # in which a request may name an address
_TIMES = 5
_BETWEEN = 12.0  # seconds: the self-check answers a caller once a second, in the end

# Every verb of the control socket, and what it is asked about an address, if it can be.
# One that is not here has to be thought of: does it tell whether somebody has a tunnel?
VERBS: dict[str, tuple[Mapping[str, Any], ...]] = {
    "status": ({}, {"address": "ADDRESS"}),
    "report": ({}, {"address": "ADDRESS"}),
    "counters": ({}, {"address": "ADDRESS"}),
    "compare": ({}, {"address": "ADDRESS"}),
    "lookup": ({"asked": ["ADDRESS"]}, {"asked": ["ADDRESS/32"]}, {"asked": ["x"]}),
    "expiring": ({"within": 1e9}, {"within": 1e9, "address": "ADDRESS"}),
    "preview": ({"address": "ADDRESS"}, {"share": "ADDRESS"}),
    # These change something: they are asked in a way that they refuse.
    "reload": ({"ADDRESS": True}, {"accept_removals": "ADDRESS"}),
    "enforce": ({"ADDRESS": 1}, {"share": "ADDRESS"}),
    "confirm": ({"ADDRESS": True},),
    "observe": ({"ADDRESS": True}, {"address": "ADDRESS"}),
}
# Every page, by method and path; each is asked about an address in every way there is.
PAGES = {
    ("GET", "/"),
    ("GET", "/status.json"),
    ("GET", "/report.json"),
    ("GET", "/healthz"),
    ("GET", "/metrics"),
    # About a typed address it tells who is registered, as `lookup` does.
    ("GET", "/check"),
    ("POST", "/check"),
}


@pytest.fixture(scope="module")
def acting(lab: Lab) -> Iterator[Daemon]:
    """Enforcing, at debug, in JSON; with the harness, to be asked for what there is."""
    settings = enforcing_settings(lab, "acting")
    # Whoever has an account on the gateway may pass for a proxy there.
    settings.change(
        log={"level": "debug", "format": "json"},
        http={"trusted_proxies": ["127.0.0.1/32"]},
    )
    with daemon(lab.gateway, settings, HARNESS) as running:
        marked.speak(lab)
        marked.wait_for_verdicts(running)
        yield running


def _verdicts(running: Daemon) -> int:
    """How many spellings of an address the elements of sets and maps have, or flows."""
    if PLANE is Plane.EBPF:
        return len(bpf_daemon.verdicts(running.process.pid, "upload_ipv4"))
    return len(ANY.found(running.namespace.run("nft", "list", "ruleset")))


def test_no_address_in_anything(acting: Daemon) -> None:
    sinks = list(everything(acting))
    found = {name: spelled for name, sink in sinks if (spelled := ANY.found(sink))}
    assert found == {}
    names = {name for name, sink in sinks if sink}
    assert {"page /metrics", "vpngate bundle", "verb counters", "the log"} <= names
    assert _verdicts(acting) > 0, "the kernel knows whom it slows, by its nature"


def test_the_log_is_a_line_an_event_and_told_no_flow(acting: Daemon) -> None:
    lines = [json.loads(line) for line in acting.process.output().splitlines()]
    assert {"running", "stance_changed", "interfaces_attached"} <= {
        line["event"] for line in lines
    }
    # Some forty flows and two hundred packets were seen.
    assert len(lines) < 40


def test_one_that_is_planted_is_found(acting: Daemon) -> None:
    """The search sees what it says it sees, in the running daemon's own places."""
    address, namespace = marked.SUBSCRIBERS[6], acting.namespace
    state = acting.settings.folder / "state" / "planted"
    state.write_text(f"flow {address}")
    table = f'table netdev planted {{ comment "of {address}"; }}'
    namespace.run("nft", "-f", "-", stdin=table)
    namespace.ip(f"link set lan1 alias {address}")
    try:
        looked_at = [*kernel(acting), *files(acting.settings.folder)]
        found = {name for name, sink in looked_at if ANY.found(sink)}
    finally:
        state.unlink()
        namespace.run("nft", "delete", "table", "netdev", "planted")
        namespace.run("ip", "link", "set", "lan1", "alias", "")
    assert {"file planted", "nft, as people read it", "ip -d link show"} <= found


def _asked(running: Daemon, verb: str, arguments: Mapping[str, Any], who: str) -> str:
    text = json.dumps(arguments).replace("ADDRESS", who)
    if ":" in who:
        text = text.replace(f"{who}/32", f"{who}/128")
    try:
        return json.dumps(running.ask(verb, **json.loads(text)))
    except VpngateError as error:
        return f"{type(error).__name__}: {error}"


def _told_apart(ask: Callable[[str], str], version: int) -> str:
    """How answers about two differ, of whom one has every tunnel; empty if they do not.

    What also differs between two answers about the same one goes on by itself: clocks,
    counters, and whose turn it is where questions are rationed. What tells them apart
    does so each time.
    """
    who, other = marked.SUBSCRIBERS[version], marked.OTHERS[version]
    difference = ""
    for again in range(_TIMES):
        time.sleep(_BETWEEN if again else 0)
        first, about_other, second = (
            _parts(ask(one), one) for one in (who, other, who)
        )
        if len(first) == len(about_other) == len(second):
            kept = zip(first, about_other, second, strict=True)
            apart = [(a, b) for a, b, c in kept if a == c != b]
            if not apart:
                return ""
            difference = f"{apart}"
        else:
            difference = f"{first} {about_other}"
    return difference


def _parts(text: str, who: str) -> list[str]:
    """An answer in pieces, each number by itself, without who was asked about."""
    text = text.replace(who, "WHO").replace("/128", "/32")
    return re.split(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", text)


@pytest.mark.parametrize("version", [4, 6])
def test_no_verb_tells_whether_another_address_has_a_tunnel(
    acting: Daemon, version: int
) -> None:
    """Of two that are not registered one has every tunnel, and one has none."""
    assert set(acting.ask("verbs")) <= set(VERBS), "what would a new one tell?"
    for verb in acting.ask("verbs"):
        for arguments in VERBS[verb]:
            ask = partial(_asked, acting, verb, arguments)
            assert _told_apart(ask, version) == "", (verb, arguments)


def _fetched(running: Daemon, method: str, path: str, way: int, who: str) -> str:
    """A page, asked about an address in one of the ways that requests have."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    bracketed = f"[{who}]" if ":" in who else who
    target, headers, body = (
        (f"{path}?address={who}", {}, None),
        (path, {"X-Forwarded-For": who}, None),
        (path, {"Forwarded": f'for="{bracketed}"'}, None),
        (path, form, f"address={who}"),
    )[way]

    def ask() -> str:
        connection = HTTPConnection("127.0.0.1", _PORT, timeout=60)
        try:
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            return f"{answer.status} {answer.read().decode()}"
        finally:
            connection.close()

    return running.namespace.call(ask)


@pytest.mark.parametrize("version", [4, 6])
def test_no_page_tells_whether_another_address_has_a_tunnel(
    acting: Daemon, version: int
) -> None:
    routes = {(method, path) for method, path in acting.ask("paths")}
    assert routes <= PAGES, "what would a new one tell?"
    assert ("GET", "/metrics") in routes
    for method, path in sorted(routes):
        for way in range(_WAYS):
            ask = partial(_fetched, acting, method, path, way)
            assert _told_apart(ask, version) == "", (method, path, way)
    # Nothing of the questions above has come to the log.
    assert ANY.found(acting.process.output()) == []
