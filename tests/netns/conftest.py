# SPDX-License-Identifier: GPL-2.0-or-later
"""Live tests need root and real programs; without them each says what it lacks."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import topology
from tests.lab.daemon import Daemon, daemon, enforcing_settings
from tests.lab.topology import Lab
from tests.planes import why_not

_PROGRAMS = ("ip", "nft", "tc", "ethtool", "setpriv", "nsenter", "unshare")


def _lacking() -> str:
    if os.geteuid() != 0:
        return "needs root: it builds network namespaces"
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    return f"needs {', '.join(missing)}" if missing else ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    lacking = _lacking()
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.netns)
            if why := lacking or why_not(item.path):
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A gateway that routes, one for the tests of a module."""
    with topology.build() as built:
        yield built


@pytest.fixture(scope="module")
def enforcing(lab: Lab) -> Iterator[Daemon]:
    """A daemon that enforces on the lab's gateway, one for the tests of a module."""
    with daemon(lab.gateway, enforcing_settings(lab)) as running:
        yield running
