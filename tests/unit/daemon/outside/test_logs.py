# SPDX-License-Identifier: GPL-2.0-or-later
"""What a log line looks like, in each form."""

import _thread
import json
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from vpngate.config import parse_config
from vpngate.daemon.outside import logs
from vpngate.kernel.detour.verdicts import FlowId
from vpngate.log_events import named
from vpngate.packets import Endpoint, Transport

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
    where = r"ZeroDivisionError at \S*test_logs\.py:\d+ < \S*test_logs\.py:\d+"
    assert re.search(rf"feed: it failed: {where}$", plain)
    assert "feed: it failed: Traceback of ZeroDivisionError | File" in full
    assert "in fail" in full


@pytest.mark.parametrize("level", ["debug", "info"])
def test_no_error_is_quoted(capsys: pytest.CaptureFixture[str], level: str) -> None:
    """Its text may be a flow: nor that of one that led to it, or is in it."""
    flow = FlowId(
        Transport.UDP, *(Endpoint(bytes([203, 0, 113, n]), 9) for n in (7, 8))
    )
    logs.set_up(level, "text", {})
    try:
        try:
            dict[object, object]()[flow]
        except KeyError as inner:
            members = [ValueError(f"no {flow}"), ZeroDivisionError(flow)]
            raise ExceptionGroup(f"{flow}", members) from inner
    except ExceptionGroup:
        LOG.exception("it failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ExceptionGroup" in line
    assert ("KeyError" in line, "ZeroDivisionError" in line) == (level == "debug",) * 2
    assert "Endpoint" not in line
    assert r"\x" not in line


def test_what_python_would_say_of_a_thread_is_one_line_that_quotes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)

    def fails() -> None:
        raise ValueError("198.51.100.7")

    def has_no_memory() -> None:
        raise MemoryError

    logs.set_up("info", "text", {})
    logs.take_uncaught()
    for work in (fails, has_no_memory):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        before, begun = _thread._count(), threading.Event()
        _thread.start_new_thread(_begin, (begun, work))
        assert begun.wait(60)
        deadline = time.monotonic() + 60
        while _thread._count() > before and time.monotonic() < deadline:
            time.sleep(0.01)
    logs.tell_uncaught()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert "daemon: a thread: this should not have happened: ValueError" in line
        assert "198.51.100.7" not in line


def _begin(begun: threading.Event, work: Callable[[], None]) -> None:
    begun.set()
    work()


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
