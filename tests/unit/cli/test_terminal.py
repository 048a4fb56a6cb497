# SPDX-License-Identifier: GPL-2.0-or-later
"""What commands look like on a terminal, on a small one, on a dumb one, and in a pipe.

The terminal is tmux, the daemon a control socket with answers of its own.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.lab.namespaces import wait_until
from tests.lab.screen import Screen, screen
from tests.unit.cli.answering import serving
from tests.unit.cli.conftest import REGISTRY
from vpngate.cli.printing.overview import lasting

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux"),
]
VPNGATE = str(Path(sys.executable).with_name("vpngate"))
ESCAPE = "\x1b"
# What would be markup to rich, and what would command a terminal.
HOSTILE = "[red]lan0[/red] \x1b[2J\x07:smile: [link=x]"
STATE: dict[str, Any] = {
    "healthy": False,
    "reasons": ["enforcing, but the dead man's switch is not armed"],
    "warnings": [],
    "version": "0.1.0",
    "started": "2026-11-26T10:00:00Z",
    "uptime_seconds": 90061,
    "mode": "enforce",
    "stance": {
        "mode": "enforce",
        "share": 50,
        "until": "2026-11-27T10:00:00Z",
        "why": "asked: uid 0",
        "confirm_by": None,
        "what_to_do": None,
    },
    "interfaces": [HOSTILE, "lan1"],
    "registry": {"prefixes": {"ipv4": 3, "ipv6": 1}, "serial": 42},
    "refreshes": {
        "source": "https://registry.example.net/registry.json",
        "last_success": "2026-11-26T11:00:00Z",
        "next": "2026-11-26T12:00:00Z",
        "failures": 0,
        "last_refusal": {"at": "2026-11-26T09:00:00Z", "why": "is empty"},
    },
    "flows": {
        "wireguard": {
            "initiation": 1,
            "confirmed": 2,
            "verdicts": {"allow": 3, "throttle": 4},
        },
    },
    "throttled": {"limit": "5mbit", "rate": {"upload": "1mbit"}, "spared": {"ipv4": 0}},
    "capture": {"captured": 17, "drop": 0},
    "kernel": {"armed": False, "in_sync": True},
}
ENVIRONMENT = {"PATH": os.environ["PATH"], "TERM": "screen-256color"}


class Told:
    """A daemon that can be stopped, and started again as another one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = dict(STATE)
        self._stack: contextlib.ExitStack | None = None

    async def status(self, _arguments: Mapping[str, Any]) -> dict[str, Any]:
        return self.state

    def start(self) -> None:
        self._stack = contextlib.ExitStack()
        served = contextlib.contextmanager(serving)(self.path, {"status": self.status})
        self._stack.enter_context(served)

    def stop(self) -> None:
        if self._stack is not None:
            self._stack.close()
        self._stack = None


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    made = Told(tmp_path / "s")
    made.start()
    yield made
    made.stop()


@contextlib.contextmanager
def watched(
    told: Told, columns: int, *more: str, **environment: str
) -> Iterator[Screen]:
    """`status --watch` in a terminal."""
    command = (VPNGATE, "status", "--watch", "--interval", "200ms")
    with screen(told.path.parent, columns, 120) as shown:
        shown.begin(
            *(*command, "--socket", str(told.path), *more),
            environment=ENVIRONMENT | environment,
        )
        yield shown


@pytest.mark.parametrize("columns", [80, 200])
def test_it_is_drawn_in_place_and_ends_with_ctrl_c(told: Told, columns: int) -> None:
    with watched(told, columns) as shown:
        first = shown.wait_for("in sync")
        assert first.count("healthy") == 1
        assert first.splitlines()[0].startswith("at")
        assert all(len(line) <= columns for line in first.splitlines())
        for said in ("1 d 1 h", "50 %", "2026-11-26T12:00:00Z", "is empty", "5mbit"):
            assert said in first
        # The flows' table: names and numbers in their columns.
        heading, row = (
            next(line for line in first.splitlines() if line.startswith(word))
            for word in ("TUNNEL", "wireguard")
        )
        *verdicts, _ = names = heading.split()
        assert (names[0], names[-3:]) == ("TUNNEL", ["ALLOW", "THROTTLE", "NONE"])
        assert len(verdicts) == len(row.split()) - 1
        assert row.split() == ["wireguard", "1", "2", "3", "4", "0"]
        told.state = told.state | {"healthy": True, "reasons": []}
        wait_until(lambda: "dead man" not in shown.text(), "another state")
        assert shown.text().count("healthy") == 1
        shown.press("C-c")
        assert "healthy" not in shown.wait_for("ended with 130")


def test_text_from_outside_is_text(told: Told) -> None:
    with watched(told, 200) as shown:
        line = next(
            line
            for line in shown.wait_for("in sync").splitlines()
            if line.startswith("interfaces")
        )
    assert r"[red]lan0[/red] \x1b[2J\x07:smile: [link=x]; lan1" in line


def test_it_survives_the_daemons_restart_and_says_so(told: Told) -> None:
    where = ("--socket", str(told.path), "--format", "json")
    watching = piped("status", "--watch", "--interval", "100ms", *where)
    assert watching.stdout is not None
    answers = map(json.loads, watching.stdout)
    try:
        assert next(answers)["status"] == told.state
        told.stop()
        gone = next(each for each in answers if each["status"] is None)
        assert "since 20" in gone["note"]
        told.state = told.state | {"started": "2026-11-26T13:00:00Z"}
        told.start()
        again = next(each for each in answers if each["status"] is not None)
        while again["status"]["started"] == STATE["started"]:
            again = next(answers)
        assert again["note"] == "the daemon was started again at 2026-11-26T13:00:00Z"
    finally:
        watching.kill()
        watching.communicate(timeout=60)


def test_it_follows_the_size_of_the_terminal(told: Told) -> None:
    with watched(told, 200) as shown:
        shown.wait_for("in sync")
        shown.resize(60, 40)
        wait_until(
            lambda: (
                "in sync" in (seen := shown.text())
                and all(len(line) <= 60 for line in seen.splitlines())
            ),
            "the smaller screen",
        )


def test_no_color(told: Told) -> None:
    """Colours are gone, and nothing else is; SGR 30 to 49 (ECMA-48) are colours."""

    def colours(shown: Screen) -> list[str]:
        shown.wait_for("in sync")
        sequences = re.findall(r"\x1b\[([\d;]+)m", shown.text(styles=True))
        codes = ";".join(sequences).split(";")
        return [code for code in codes if re.fullmatch(r"3[0-8]|4[0-8]|9\d", code)]

    with watched(told, 80) as shown:
        assert colours(shown)
    with watched(told, 81, NO_COLOR="1") as shown:
        assert colours(shown) == []


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_dumb_terminal_gets_plain_blocks(told: Told, term: str) -> None:
    with watched(told, 200, TERM=term) as shown:
        shown.wait_for("in sync")
        wait_until(lambda: shown.text().count("at 20") > 1, "a second block")
        assert ESCAPE not in shown.text(styles=True)
        shown.press("C-c")
        shown.wait_for("ended with 130")


def piped(*argv: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [VPNGATE, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT | environment,
    )


def test_in_a_pipe_it_is_plain_blocks_until_ctrl_c(told: Told) -> None:
    where = ("--socket", str(told.path))
    watching = piped("status", "--watch", "--interval", "100ms", *where)
    assert watching.stdout is not None
    lines: list[str] = []
    reading = threading.Thread(target=lambda: lines.extend(watching.stdout or ()))
    reading.start()
    try:
        wait_until(lambda: "".join(lines).count("\nat ") > 1, "three blocks")
    finally:
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 130
        reading.join()
    text = "".join(lines)
    assert ESCAPE not in text
    blocks = text.strip().split("\n\n")
    assert all(block.startswith("at ") and "in sync" in block for block in blocks)
    assert watching.stderr is not None
    assert watching.stderr.read() == ""


def test_for_programs_it_is_an_object_a_time(told: Told) -> None:
    where = ("--socket", str(told.path))
    watching = piped(
        *("status", "--watch", "--interval", "100ms", "--format", "json"), *where
    )
    assert watching.stdout is not None
    first, second = (json.loads(watching.stdout.readline()) for _ in range(2))
    watching.stdout.close()  # whoever reads it has enough
    assert watching.wait(60) == 128 + signal.SIGPIPE
    assert (first["status"], second["note"]) == (told.state, None)


def test_it_does_not_begin_where_no_daemon_is(tmp_path: Path) -> None:
    ended = piped("status", "--watch", "--socket", str(tmp_path / "none"))
    out, err = ended.communicate(timeout=60)
    assert (ended.returncode, out) == (2, "")
    assert "no daemon answers" in err
    for interval in ("x", "0s", "10ms", "2d"):
        ended = piped("status", "--watch", "--interval", interval)
        assert ended.communicate(timeout=60)[1].count("\n") == 1
        assert ended.returncode == 2


@pytest.mark.parametrize("columns", [80, 200])
def test_a_table_on_a_terminal_is_whole_at_any_width(
    tmp_path: Path, columns: int
) -> None:
    """Cells are folded, never cut."""
    name = "R-" + "x" * 60
    registry = tmp_path / "registry.csv"
    registry.write_text(
        f"{REGISTRY}2001:db8:1:2::/64,{name},wireguard+ipsec,,2099-01-01\n"
    )
    asked = ("2001:db8:1:2:1111:2222:3333:4444", "192.0.2.1", "203.0.113.1")
    with screen(tmp_path, columns, 40) as shown:
        shown.begin(
            *(VPNGATE, "lookup", *asked, "--registry", str(registry)),
            environment=ENVIRONMENT,
        )
        text = shown.wait_for("ended with 1")
        assert all(len(line) <= columns for line in text.splitlines())
        columns_of_text = "".join(text.split())
        assert columns_of_text.count("x") >= 60
        assert ESCAPE in shown.text(styles=True), "the heading stands out"


def test_the_same_in_a_pipe_has_no_sequence(tmp_path: Path) -> None:
    registry = tmp_path / "registry.csv"
    registry.write_text(REGISTRY)
    for environment in ({}, {"FORCE_COLOR": "1"}, {"TERM": "dumb"}):
        ended = piped("lookup", "192.0.2.1", "--registry", str(registry), **environment)
        out, err = ended.communicate(timeout=60)
        assert (ended.returncode, err) == (0, "")
        assert ESCAPE not in out


def test_progress_of_a_large_registry_is_on_stderr_of_a_terminal_alone(
    tmp_path: Path,
) -> None:
    registry = tmp_path / "registry.csv"
    rows = (f"10.{n >> 8 & 255}.{n & 255}.{n >> 16}/32,R-{n}\n" for n in range(250_000))
    registry.write_text("prefix,registration\n" + "".join(rows))
    asked = ("lookup", "10.0.0.0", "--registry", str(registry))
    with screen(tmp_path, 200, 40) as shown:
        shown.begin(
            *("sh", "-c", f"{VPNGATE} {' '.join(asked)} | cat"), environment=ENVIRONMENT
        )
        shown.wait_for(f"reading {registry}")
        ended = shown.wait_for("ended with 0")
        assert f"reading {registry}" not in ended, "it is taken away"
    piping = piped(*asked)
    assert piping.communicate(timeout=300)[1] == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (61, "1 min 1 s"),
        (3600, "1 h 0 min"),
        (90061, "1 d 1 h"),
        (-5, "0 s"),
    ],
)
def test_how_long_it_lasts(seconds: float, text: str) -> None:
    assert lasting(seconds) == text
