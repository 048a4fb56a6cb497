# SPDX-License-Identifier: GPL-2.0-or-later
"""status and reload: what they print, and how they end."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.answering import serving
from tests.unit.cli.conftest import Run
from vpngate.errors import Problem, RegistryRefused


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A control socket, and the state that its verbs tell."""
    path = tmp_path / "control.sock"
    state: dict[str, Any] = {}

    async def status(_arguments: Mapping[str, Any]) -> Any:
        return state

    async def reload(arguments: Mapping[str, Any]) -> Any:
        if not arguments["accept_removals"]:
            raise RegistryRefused("empty", Problem("r.csv", "is empty", "look at it"))
        return {"registry": "taken", "changed": ["throttle.rate"]}

    for _ in serving(path, {"status": status, "reload": reload}):
        yield path, state


def test_status(run: Run, daemon: tuple[Path, dict[str, Any]]) -> None:
    path, state = daemon
    state |= {
        "mode": "observe",
        "healthy": True,
        "registry": {"serial": None, "prefixes": {"ipv4": 3}},
        "reasons": [],
        "refused": {},
    }
    status, out, err = run("status", "--socket", path)
    assert (status, err) == (0, [])
    assert out.splitlines() == [
        "mode      observe",
        "healthy   yes",
        "registry",
        "  serial    -",
        "  prefixes",
        "    ipv4  3",
        "reasons   -",
        "refused   -",
    ]
    status, out, _ = run("status", "--socket", path, "--format", "json")
    assert (status, json.loads(out)) == (0, state)


def test_status_of_an_unhealthy_daemon(
    run: Run, daemon: tuple[Path, dict[str, Any]]
) -> None:
    path, state = daemon
    state |= {"healthy": False, "reasons": ["capture is silent", "clock"]}
    status, out, err = run("status", "--socket", path)
    assert (status, err) == (1, [])
    assert out.splitlines() == [
        "healthy  no",
        "reasons  capture is silent; clock",
    ]


def test_status_without_a_daemon(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "none"
    assert run("status", "--socket", path) == (
        2,
        "",
        [f"{path}: no daemon answers; is vpngate running?"],
    )


def test_reload(run: Run, daemon: tuple[Path, dict[str, Any]]) -> None:
    path, _ = daemon
    assert run("reload", "--socket", path) == (
        1,
        "",
        ["r.csv: is empty; look at it"],
    )
    status, out, err = run("reload", "--accept-removals", "--socket", path)
    assert (status, err) == (0, [])
    assert out.splitlines() == ["registry  taken", "changed   throttle.rate"]
