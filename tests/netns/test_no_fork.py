# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing in a running daemon forks without an exec, and no descriptor outlives one.

What ends throttling when the daemon is killed are descriptors: the owned table's
socket, or the programs that slow. A child with a copy of one would keep it alive.
"""

import signal
import subprocess
import sys
from pathlib import Path

from tests.house import ROOT
from tests.lab import wireguard
from tests.lab.daemon import PYTHON, daemon, enforcing_settings
from tests.lab.forkless import WORD
from tests.lab.topology import Lab

_CLOSES_ON_EXEC = 0o2000000  # O_CLOEXEC
_PROGRAM = (*PYTHON, "-m", "tests.lab.forkless", "run")


def outliving(pid: int) -> list[str]:
    """Descriptors that a program run by the daemon has, but the first three."""
    found = []
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            lines = entry.read_text().splitlines()
            target = Path(f"/proc/{pid}/fd/{entry.name}").readlink()
        except FileNotFoundError:  # closed since
            continue
        flags = next(int(line.split()[1], 8) for line in lines if "flags:" in line)
        if int(entry.name) > 2 and not flags & _CLOSES_ON_EXEC:
            found.append(f"{entry.name}: {target}")
    return found


def test_a_daemons_life_has_no_fork_without_an_exec(lab: Lab) -> None:
    settings = enforcing_settings(lab, "forkless")
    with (
        wireguard.tunnel(lab.client, lab.stranger) as tunnel,
        daemon(lab.gateway, settings, _PROGRAM) as running,
    ):
        tunnel.shake_hands()
        running.wait_for_flow("wireguard", "throttle")
        settings.register("192.0.2.0/24")
        running.reload()
        for words in (("status",), ("observe",), ("enforce",), ("report",)):
            running.command(*words)
        for page in ("/", "/check", "/metrics", "/report.json"):
            assert running.fetch(page)[0] == 200
        assert outliving(running.process.pid) == []
        running.process.send(signal.SIGTERM)
        assert running.process.wait() == 0
        assert WORD not in running.process.output()


def test_a_fork_would_be_heard() -> None:
    heard = subprocess.run(
        [sys.executable, "-m", "tests.lab.forkless", "fork"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert WORD in heard.stderr
