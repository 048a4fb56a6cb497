# SPDX-License-Identifier: GPL-2.0-or-later
"""The unit and its drop-ins as text; `make systemd` tries them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.house import ROOT
from vpngate.cli import DONE, NO, WRONG_USE
from vpngate.config import parse_config
from vpngate.tunnels import all_tunnels

_FILES = ROOT / "systemd"
_UNIT = _FILES / "vpngate.service"
_MOST_EXPOSED = 15  # tenths, of 100


def settings(path: Path, key: str) -> list[str]:
    """The values that a unit file gives a key, one after the other."""
    pairs = (line.partition("=") for line in path.read_text().splitlines())
    return [value for name, _, value in pairs if name == key]


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze"
)
def test_its_exposure() -> None:
    threshold = f"--threshold={_MOST_EXPOSED}"
    command = ["systemd-analyze", "security", "--offline=true", threshold, str(_UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-200:]


def test_one_capability_and_one_more_in_place_of_it_behind_a_mirror() -> None:
    for key in ("AmbientCapabilities", "CapabilityBoundingSet"):
        assert settings(_UNIT, key) == ["CAP_NET_ADMIN"]
        assert settings(_FILES / "mirror.conf", key) == ["", "CAP_NET_RAW"]


def test_programs_take_two_capabilities_more_and_one_call() -> None:
    drop_in = _FILES / "ebpf.conf"
    for key in ("AmbientCapabilities", "CapabilityBoundingSet"):
        assert settings(drop_in, key) == ["CAP_BPF CAP_PERFMON"], "beside the unit's"
    assert settings(drop_in, "SystemCallFilter") == ["bpf"]
    # systemd has it among the privileged ones, which the unit does without.
    assert "~@privileged" in settings(_UNIT, "SystemCallFilter")[-1]


def test_every_failure_of_the_daemon_has_it_started_again() -> None:
    [again] = settings(_UNIT, "RestartForceExitStatus")
    assert set(map(int, again.split())) == {NO, WRONG_USE}
    assert DONE not in map(int, again.split())
    assert settings(_UNIT, "Restart") == ["on-abnormal"]


def test_the_watchdog_comes_after_the_dead_man() -> None:
    shipped = parse_config(
        (ROOT / "config" / "vpngate.toml").read_text(),
        where="shipped",
        known_tunnels=[tunnel.name for tunnel in all_tunnels()],
    )
    [watchdog] = settings(_UNIT, "WatchdogSec")
    assert seconds(watchdog) > shipped.gateway.deadman


def test_the_drop_ins_say_where_they_go() -> None:
    for path in _FILES.glob("*.conf"):
        place = f"/etc/systemd/system/vpngate.service.d/{path.name}"
        assert place in path.read_text()
