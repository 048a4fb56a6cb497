# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate report`: what it prints of what a daemon answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Run
from tests.unit.public import sample
from vpngate.cli import transparency_report


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], list[Any]]:
    """Have a daemon answer so; what it was asked."""

    def answer(report: dict[str, Any]) -> list[Any]:
        seen: list[Any] = []

        def request(*arguments: Any) -> dict[str, Any]:
            seen.append(arguments)
            return report

        monkeypatch.setattr(transparency_report, "request", request)
        return seen

    return answer


def test_for_people(run: Run, asked: Callable[[dict[str, Any]], list[Any]]) -> None:
    seen = asked(sample.enforcing())
    status, out, err = run("report", "--socket", "/nowhere")
    assert (status, err, seen) == (0, [], [("/nowhere", "report")])
    lines = out.splitlines()
    assert "stance      enforce, acts, 100%" in lines
    assert "limit       5mbit a subscriber and direction" in lines
    assert "registry    Example registry, serial 42" in lines
    assert "WireGuard  16  13600  260       7" in lines
    assert any(line.startswith("throttle: An unregistered tunnel") for line in lines)


@pytest.mark.parametrize("name", sample.ALL)
def test_for_programs_it_is_the_same(
    run: Run, asked: Callable[[dict[str, Any]], list[Any]], name: str
) -> None:
    report = sample.ALL[name]()
    asked(report)
    assert json.loads(run("report", "--format", "json")[1]) == report
    assert run("report")[0] == 0


def test_why_nothing_is_slowed_is_said(
    run: Run, asked: Callable[[dict[str, Any]], list[Any]]
) -> None:
    asked(sample.halted())
    lines = run("report")[1].splitlines()
    assert "stance      observe, slows nobody, 100%" in lines
    assert "why         witness" in lines


def test_without_a_daemon_it_says_so(run: Run, tmp_path: Path) -> None:
    status, out, err = run("report", "--socket", tmp_path / "none.sock")
    assert (status, out) == (2, "")
    assert "no daemon answers" in err[0]
