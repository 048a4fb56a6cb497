# SPDX-License-Identifier: GPL-2.0-or-later
"""Live tests need root and real programs; without them each says what it lacks."""

import os
import shutil
from pathlib import Path

import pytest

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
            if lacking:
                item.add_marker(pytest.mark.skip(reason=lacking))
