# SPDX-License-Identifier: GPL-2.0-or-later
"""A booted machine of each release on the lab's gateway, vpngate installed in it.

It is installed by the lines that docs/operating.md has for that.
"""

import os
import re
import shutil
from collections.abc import Iterator

import pytest

from tests.house import ROOT
from tests.lab import systemd, topology
from tests.lab.systemd import Machine
from tests.lab.topology import Lab
from tests.systemd.service import Service

# Where the page's clone is; the virtual environment is there already.
_CLONE = "/srv/clone"
_LINES = ("ln ", "install ", "systemd-", "systemctl ")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root: it boots a machine")
    with topology.build() as built:
        yield built


@pytest.fixture(scope="module", params=systemd.releases())
def machine(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Machine]:
    if reason := systemd.lacking(request.param):
        pytest.skip(reason)
    with systemd.boot(request.param, lab.gateway) as booted:
        _install(booted)
        yield booted


@pytest.fixture
def service(machine: Machine) -> Iterator[Service]:
    """The service as installed, set to enforce; nothing is left of an earlier one."""
    installed = Service(machine)
    installed.reset()
    yield installed
    installed.reset()


def _install(machine: Machine) -> None:
    for folder in ("config", "systemd"):
        shutil.copytree(ROOT / folder, machine.path(f"{_CLONE}/{folder}"))
    page = (ROOT / "docs" / "operating.md").read_text()
    block = page.partition("## Install\n")[2].partition("```console\n")[2]
    for line in re.findall(r"^# (.*)$", block.partition("```")[0], re.MULTILINE):
        if line.startswith(_LINES):
            machine.shell(f"cd {_CLONE} && {line}")
