# SPDX-License-Identifier: GPL-2.0-or-later
"""The demonstration shows what it promises, in one table."""

import re
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_DEMO = (sys.executable, "-m", "tests.lab.demo")
_ROW = re.compile(
    r"(?P<name>\S.*?)  +(?P<tunnel>[a-z ]+?)  +(?P<verdict>[a-z ]+?)"
    r"  +(?P<before>[\d.,]+) Mbit/s  +(?P<after>[\d.,]+) Mbit/s"
)


def test_demo_prints_its_table() -> None:
    done = subprocess.run(
        _DEMO, cwd=_ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = {match["name"]: match for match in _ROW.finditer(done.stdout)}
    found = {
        name: (row["tunnel"], row["verdict"], _effect(row))
        for name, row in rows.items()
    }
    assert found == {
        "WireGuard to 203.0.113.10 (registered)": ("wireguard", "allow", "untouched"),
        "WireGuard to 198.51.100.10 (not registered)": (
            "wireguard",
            "throttle",
            "slow",
        ),
        "plain download from 198.51.100.10": ("no tunnel", "left alone", "untouched"),
    }
    assert re.search(
        r"metrics +http://127\.0\.0\.1:9753/metrics +answered 200", done.stdout
    )


def test_demo_without_root_says_what_it_left_out() -> None:
    done = subprocess.run(
        ["unshare", "--user", *_DEMO],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0
    assert "not root" in done.stderr
    assert "R-1001" in done.stdout


def _effect(row: re.Match[str]) -> str:
    """Far from the slower class's 5 Mbit/s or at it, on a machine as busy as it is.

    How little is lost on the way is other tests' business, which have a control.
    """
    before, after = _number(row["before"]), _number(row["after"])
    if before > 20 and after > max(20, 0.3 * before):
        return "untouched"
    return "slow" if before > 20 and after < 6 else "neither"


def _number(text: str) -> float:
    return float(text.replace(",", ""))
