# SPDX-License-Identifier: GPL-2.0-or-later
"""The doctor on the lab's gateway, and what it says.

Knows how it is asked and how its answer is read; does not know what it should say.
"""

import json
import subprocess
from dataclasses import dataclass

from tests.lab.daemon import VPNGATE, Settings
from tests.lab.namespaces import PATIENCE
from tests.lab.topology import Lab

ABLE, UNABLE = 0, 1  # its exit status


@dataclass(frozen=True)
class Answer:
    """What the doctor said: its exit status, and the findings' texts by place."""

    status: int
    findings: dict[str, tuple[str, str]]  # where: (weight, what and cost)

    @property
    def grave(self) -> list[str]:
        """The places of what is missing or in conflict."""
        weights = ("missing", "conflict")
        return [w for w, (weight, _) in self.findings.items() if weight in weights]


def command(settings: Settings, *more: str) -> tuple[str, ...]:
    """The command line that asks it about these settings."""
    files = ("--config", str(settings.config), "--socket", str(settings.socket))
    return (VPNGATE, "doctor", *files, *more)


def ask(lab: Lab, settings: Settings, prefix: tuple[str, ...] = ()) -> Answer:
    """Ask for JSON; nothing may be on stderr."""
    done = subprocess.run(
        lab.gateway.command((*prefix, *command(settings, "--format", "json"))),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["able"] is (done.returncode == ABLE)
    return Answer(
        done.returncode,
        {
            each["where"]: (each["weight"], f"{each['what']}; {each['cost']}")
            for each in found["findings"]
        },
    )
