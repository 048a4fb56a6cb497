# SPDX-License-Identifier: GPL-2.0-or-later
"""A booted machine of each release on the lab's gateway, with and without vpngate."""

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.lab import systemd, topology
from tests.lab.systemd import Machine
from tests.lab.topology import Lab
from tests.systemd.desk import INSTALLING, PACKAGE
from tests.systemd.service import Service


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root: it boots a machine")
    with topology.build() as built:
        yield built


@pytest.fixture(scope="module", params=systemd.releases())
def bare(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Machine]:
    """As debootstrap made it, and the package, which is not installed yet."""
    if reason := systemd.lacking(request.param):
        pytest.skip(reason)
    with systemd.boot(request.param, lab.gateway) as booted:
        # Compiling waits for whatever else wants the processor, as on a gateway it
        # should; here that would be other tests, for many minutes.
        booted.path("/usr/bin/nice").unlink()
        booted.path("/usr/bin/nice").write_text('#!/bin/sh\nshift 2\nexec "$@"\n')
        booted.path("/usr/bin/nice").chmod(0o755)
        booted.path(PACKAGE).parent.mkdir(exist_ok=True)
        shutil.copy(systemd.packages(request.param)[-1], booted.path(PACKAGE))
        yield booted


@pytest.fixture(scope="module")
def machine(bare: Machine) -> Machine:
    """With the package installed."""
    bare.run("dpkg", "-i", PACKAGE, timeout=INSTALLING)
    return bare


@pytest.fixture
def service(machine: Machine) -> Iterator[Service]:
    """The service as installed, set to enforce; nothing is left of an earlier one."""
    installed = Service(machine)
    installed.reset()
    yield installed
    installed.reset()
