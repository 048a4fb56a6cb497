# SPDX-License-Identifier: GPL-2.0-or-later
"""preview: what is handed to the daemon, and how its answer is printed."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.answering import serving
from tests.unit.cli.conftest import REGISTRY, Run
from vpngate.daemon.outside.handed_over import FILES, content_of
from vpngate.prefixes.intervals import Intervals
from vpngate.prefixes.packed import unpack

EXACT = {
    "mode": "observe",
    "share": 100,
    "compared_with": "now",
    "tunnels": {
        "wireguard": {
            "up": 4,
            "would_be_slowed": 3,
            "left_alone": 1,
            "newly_slowed": 3,
            "no_longer_slowed": 0,
        }
    },
    "subscribers": {"would_be_slowed": 2},
    "registered_touched": 0,
    "traffic": {"slowed_percent": None},
    "notes": ["something is not known"],
}
ABOUT = {
    **EXACT,
    "tunnels": {
        "ipsec": {
            "up": 40,
            "slowed_before": 30,
            "subscribers_newly_slowed": None,
            "subscribers_no_longer_slowed": 25,
        }
    },
    "told": {"fewer_than": 10, "in_steps_of": 5},
    "notes": [],
}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[tuple[Path, list[Any]]]:
    """A control socket, and what was asked there: arguments, and files' contents."""
    path = tmp_path / "control.sock"
    asked: list[Any] = []

    async def preview(arguments: Mapping[str, Any]) -> Any:
        files = [bytes(content_of(one, 2**20, "it")) for one in FILES.get()]
        asked.append({**arguments, "files": files})
        return ABOUT if files else EXACT

    for _ in serving(path, {"preview": preview}):
        yield path, asked


def test_what_is_in_force(run: Run, daemon: tuple[Path, list[Any]]) -> None:
    path, asked = daemon
    status, out, err = run("preview", "--socket", path, "--share", 20)
    assert (status, err) == (0, [])
    assert asked == [{"share": 20, "files": []}]
    assert out.splitlines()[:3] == [
        "TUNNEL     UP  WOULD BE SLOWED  LEFT ALONE  NEWLY  NO LONGER",
        "wireguard  4   3                1           3      0",
        "share               100 %",
    ]
    assert out.splitlines()[-1] == "note: something is not known"
    status, out, _ = run("preview", "--socket", path, "--format", "json")
    assert (status, json.loads(out)) == (0, EXACT)


def test_another_registry(
    run: Run, daemon: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    path, asked = daemon
    (file := tmp_path / "other.csv").write_text(REGISTRY)
    status, out, err = run("preview", "--socket", path, "--registry", file)
    assert (status, err) == (0, [])
    (found,) = asked
    assert (found["share"], found["registry"], len(found["files"])) == (None, True, 1)
    spared = unpack(found["files"][0])
    assert spared == Intervals.of_prefixes(["192.0.2.0/24", "2001:db8::/32"])
    assert out.splitlines()[:2] == [
        "TUNNEL  UP  SLOWED BEFORE  SUBSCRIBERS NEWLY  SUBSCRIBERS NO LONGER",
        "ipsec   40  30             fewer than 10      about 25",
    ]


def test_another_configuration(
    run: Run, daemon: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    path, asked = daemon
    (tmp_path / "other.csv").write_text(REGISTRY)
    text = (
        '[gateway]\ninterfaces = ["lan0"]\n[registry]\n'
        f'sources = ["{tmp_path}/other.csv"]\nstate = "{tmp_path}/state"\n'
    )
    (file := tmp_path / "other.toml").write_text(text)
    status, _, err = run("preview", "--socket", path, "--config", file)
    assert (status, err) == (0, [])
    (found,) = asked
    assert (found["registry"], found["config"]) == (True, True)
    registry, config = found["files"]
    assert config.decode() == text
    assert len(unpack(registry)) == 2


def test_what_is_wrong_is_told_before_the_daemon_is_asked(
    run: Run, daemon: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    path, asked = daemon
    (empty := tmp_path / "empty.csv").write_text("prefix,registration\n")
    (wrong := tmp_path / "wrong.toml").write_text("[gateway]\n")
    for option, file, expected in (
        ("--registry", empty, 1),
        ("--registry", tmp_path / "none.csv", 2),
        ("--config", wrong, 1),
    ):
        status, out, err = run("preview", "--socket", path, option, file)
        assert (status, out) == (expected, "")
        assert err
    assert asked == []


def test_without_a_daemon(run: Run, tmp_path: Path) -> None:
    status, _, err = run("preview", "--socket", tmp_path / "none.sock")
    assert (status, len(err)) == (2, 1)
