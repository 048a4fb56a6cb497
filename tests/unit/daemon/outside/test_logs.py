# SPDX-License-Identifier: GPL-2.0-or-later
"""What a log line looks like, in each form."""

import json
import logging
import re
from collections.abc import Iterator

import pytest

from vpngate.config import parse_config
from vpngate.daemon.outside import logs
from vpngate.log_events import named

LOG = logging.getLogger("vpngate.feed.sources.https")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    logger = logging.getLogger("vpngate")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logger.propagate = propagate


def fail() -> None:
    raise ZeroDivisionError("by nought")


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("info", "text", {})
    LOG.warning("no answer from %s\n twice", "a.example")
    LOG.debug("not this")
    (line,) = capsys.readouterr().err.splitlines()
    time, rest = line.split(" ", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    assert rest == "warning feed: no answer from a.example | twice"


@pytest.mark.parametrize(
    ("level", "priority"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3)]
)
def test_the_journal_has_its_own_clock(
    capsys: pytest.CaptureFixture[str], level: str, priority: int
) -> None:
    logs.set_up("debug", "text", {"JOURNAL_STREAM": "8:1"})
    LOG.log(getattr(logging, level.upper()), "x")
    assert capsys.readouterr().err == f"<{priority}>feed: x\n"


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("info", "json", {})
    extra = named("source_passed_over", failures=3, what="\x1b[2Jü", halt=None)
    LOG.error("a\nb ü", extra=extra)
    LOG.error("of nobody")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "error",
        "room": "feed",
        "event": "source_passed_over",
        "message": "a | b ü",
        "fields": {"failures": 3, "what": "\\x1b[2Jü", "halt": None},
    }
    assert (second["event"], second["fields"]) == ("library", {})


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_from_outside_commands_whoever_reads_it(
    capsys: pytest.CaptureFixture[str], form: str
) -> None:
    logs.set_up("info", form, {})
    LOG.error("answers %s", "503 \x1b[2J\r<0>x\u2028y\u202ez\x85\0")
    LOG.error("answers %s", "x" * 10**5)
    first, second = capsys.readouterr().err.split("\n")[:2]
    assert first.isprintable()
    said = json.loads(first)["message"] if form == "json" else first
    assert said.isprintable()
    assert "503 \\x1b[2J\\r<0>x\\u2028y\\u202ez\\x85\\x00" in said
    assert len(second) < 10_000


def test_a_traceback_is_for_those_who_look_for_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for level in ("info", "debug"):
        logs.set_up(level, "text", {})
        try:
            fail()
        except ZeroDivisionError:
            LOG.exception("it failed")
    plain, full = capsys.readouterr().err.splitlines()
    assert plain.endswith("feed: it failed: ZeroDivisionError('by nought')")
    assert "Traceback" in full
    assert "def" not in plain


def test_the_latest_set_up_counts(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("debug", "text", {})
    logs.set_up("error", "text", {})
    LOG.warning("not this")
    LOG.error("this, once")
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_outdated_in_a_configuration_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = '[gateway]\ninterfaces = ["lan0"]\n'
    for more, lines in (("", 0), ('mark = "0x40000000"\n', 1)):
        caplog.clear()
        config = parse_config(text + more, where="f", known_tunnels=["wireguard"])
        assert logs.told(config) is config
        assert len(caplog.messages) == lines
