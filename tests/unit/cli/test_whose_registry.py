# SPDX-License-Identifier: GPL-2.0-or-later
"""lookup and expiring: a running daemon is asked first, and whose answer it is."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.cli.answering import serving
from tests.unit.cli.conftest import Run
from tests.unit.daemon.gatehouse import CONFIG, snapshot
from vpngate.cli import options
from vpngate.daemon.answers import questions_asked
from vpngate.daemon.answers.questions_asked import Questions
from vpngate.daemon.outside.client import request
from vpngate.daemon.outside.control import VerbHandler
from vpngate.errors import WrongUse
from vpngate.registry import endings
from vpngate.snapshot import Snapshot

ROWS = """\
prefix,registration,tunnels,valid_from,valid_until
203.0.113.0/24,R-1,,,
192.0.2.0/24,R-2,,,2100-01-01
192.0.2.0/25,R-2,,,2100-01-02
"""
PROTECT = f'{CONFIG}[protect]\nprefixes = ["198.51.100.0/24"]\n'
NOW = 4_102_400_000.0  # 2099-12-31T03:33:20Z


class InForceNow:
    """As much of `InForce` as a question needs: what is in force."""

    def __init__(self, what: Snapshot) -> None:
        self.snapshot = what


async def _state() -> dict[str, object]:
    return {"healthy": True}


def _no_metrics() -> tuple[bytes, str]:
    return b"", ""


def verbs(rows: str = ROWS) -> dict[str, VerbHandler]:
    in_force = InForceNow(snapshot(PROTECT, rows))
    told = Questions(in_force, lambda: NOW, _state, dict, _no_metrics)  # type: ignore[arg-type]
    return told.handlers


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Path]:
    """The control socket of a daemon with the real questions."""
    yield from serving(tmp_path / "control.sock", verbs())


@pytest.fixture
def older(tmp_path: Path) -> Iterator[Path]:
    """One that knows no questions yet."""
    yield from serving(tmp_path / "control.sock", {})


def test_the_daemon_is_asked_first(run: Run, daemon: Path) -> None:
    asked = ("203.0.113.7", "198.51.100.7", "192.0.2.0/23", "R-2")
    status, out, err = run("lookup", *asked, "--socket", daemon)
    assert (status, err) == (1, [])
    *rows, whose = out.splitlines()
    assert whose == f"answered by the running daemon ({daemon})"
    assert [row.split()[:3] for row in rows[1:]] == [
        ["203.0.113.7", "yes", "R-1"],
        ["198.51.100.7", "no,", "protected"],
        ["192.0.2.0/23", "in", "part"],
        ["192.0.2.0/23", "in", "part"],
        ["R-2", "yes", "R-2"],
        ["R-2", "yes", "R-2"],
    ]


def test_its_answer_for_programs(run: Run, daemon: Path) -> None:
    asked = ("lookup", "198.51.100.7", "::ffff:203.0.113.9", "--socket", daemon)
    status, out, _ = run(*asked, "--format", "json")
    first, second = map(json.loads, out.splitlines())
    assert status == 1
    assert (first["protected"], first["registered"]) == (True, False)
    assert (second["address"], second["registration"]) == ("203.0.113.9", "R-1")
    assert first["answered_by"] == f"the running daemon ({daemon})"


def test_files_that_are_named_are_looked_at_whatever_runs(
    run: Run, daemon: Path, config: Path
) -> None:
    for where in (
        ("--config", config),
        ("--registry", config.with_name("registry.csv")),
    ):
        status, out, _ = run("lookup", "203.0.113.7", *where, "--socket", daemon)
        assert (status, "daemon" in out) == (1, False)


@pytest.mark.parametrize("command", [("lookup", "192.0.2.1"), ("expiring",)])
def test_where_none_runs_its_files_answer(
    run: Run, config: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr(options, "CONFIG_PATH", str(config))
    socket = config.with_name("none.sock")
    status, out, err = run(*command, "--socket", socket)
    assert status == 0
    assert err == [
        f"{socket}: no daemon answers; is vpngate running?; looking in its files"
    ]
    assert out.splitlines()[-1] == f"answered by the files of {config}"


def test_an_older_daemon_is_passed_over(
    run: Run, config: Path, older: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "CONFIG_PATH", str(config))
    status, out, err = run("lookup", "192.0.2.1", "--socket", older)
    assert (status, len(err)) == (0, 1)
    assert out.splitlines()[-1] == f"answered by the files of {config}"


def test_expiring_of_the_daemon(run: Run, daemon: Path) -> None:
    status, out, err = run("expiring", "--within", "2d", "--socket", daemon)
    assert (status, err) == (0, [])
    assert out.splitlines() == [
        "DAY         AT         WHAT          REGISTRATION  PREFIX",
        "2100-01-01  00:00:00Z  leaves grace  R-2           192.0.2.0/24",
        "2100-01-02  00:00:00Z  leaves grace  R-2           192.0.2.0/25",
        "within 2d: 0 end, 2 leave their grace",
        f"answered by the running daemon ({daemon})",
    ]
    status, out, _ = run("expiring", "--within", "1h", "--socket", daemon)
    assert out.splitlines()[0] == "within 1h: 0 end, 0 leave their grace"
    out = run("expiring", "--within", "2d", "--format", "json", "--socket", daemon)[1]
    assert [day["day"] for day in json.loads(out)["days"]] == [
        "2100-01-01",
        "2100-01-02",
    ]


def test_many_questions_are_asked_in_portions(run: Run, tmp_path: Path) -> None:
    """As files do, a daemon answers them all, and each whole."""
    rows = "".join(f"10.{n >> 8}.{n & 255}.0/24,R-1,,,\n" for n in range(1100))
    handlers = verbs(ROWS + rows)
    asked = [*("203.0.113.7" for _ in range(150)), *("10.0.0.0/8", "R-1") * 2]
    with contextmanager(serving)(tmp_path / "control.sock", handlers) as path:
        status, out, err = run("lookup", *asked, "--format", "json", "--socket", path)
        assert (status, err) == (1, [])
        answers = [json.loads(line) for line in out.splitlines()]
        assert [each.get("registration") for each in answers[:150]] == ["R-1"] * 150
        told = [(len(each["registrations"]), each["more"]) for each in answers[150:]]
        assert told[0] == told[2] == (1000, 100)
        assert told[1] == told[3] == (1000, 101)
        # Asked at once by somebody else, an answer has a bound as a whole.
        whole = request(path, "lookup", {"asked": ["10.0.0.0/8", "R-1"] * 50})
        told = [(len(each["registrations"]), each["more"]) for each in whole["answers"]]
        assert told[:4] == [(1000, 100), (1000, 101), (0, 1100), (0, 1101)]


def test_one_question_at_a_time_also_after_its_caller_has_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inside, most, begun, go_on = 0, 0, threading.Event(), threading.Event()

    def slow(*arguments: object) -> object:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        begun.set()
        assert go_on.wait(60)
        inside -= 1
        return endings(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(questions_asked, "endings", slow)
    expiring = verbs()["expiring"]

    async def scenario() -> None:
        first = asyncio.ensure_future(expiring({"within": 1.0}))
        assert await asyncio.to_thread(begun.wait, 60)
        first.cancel()
        await asyncio.wait({first})
        assert first.cancelled()
        begun.clear()
        others = [asyncio.ensure_future(expiring({"within": 1.0})) for _ in range(3)]
        # What would begin at once would be seen here, and is counted in any case.
        assert not await asyncio.to_thread(begun.wait, 0.2)
        go_on.set()
        await asyncio.gather(*others)

    asyncio.run(scenario())
    assert most == 1


@pytest.mark.parametrize("within", ["x", "0s", "40000d", "-1d"])
def test_expiring_within_nonsense(run: Run, within: str) -> None:
    status, out, err = run("expiring", f"--within={within}")
    assert (status, out, len(err)) == (2, "", 1)


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("lookup", {}),
        ("lookup", {"asked": "192.0.2.1"}),
        ("lookup", {"asked": [1]}),
        ("lookup", {"asked": ["a b"]}),
        ("lookup", {"asked": ["192.0.2.1"] * 101}),
        ("lookup", {"asked": ["192.0.2.1"], "tunnels": True}),
        ("expiring", {}),
        ("expiring", {"within": "2d"}),
        ("expiring", {"within": True}),
        ("expiring", {"within": -1}),
        ("expiring", {"within": float("inf")}),
        ("expiring", {"within": 1, "x": 1}),
    ],
)
def test_what_is_no_question_is_wrong_use(
    daemon: Path, verb: str, arguments: dict[str, object]
) -> None:
    with pytest.raises(WrongUse):
        request(daemon, verb, arguments)


def test_nothing_of_a_question_is_logged(
    run: Run, daemon: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        run("lookup", "203.0.113.77", "--socket", daemon)
        run("expiring", "--socket", daemon)
    assert not [each for each in caplog.records if each.name.startswith("vpngate")]
