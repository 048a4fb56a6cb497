# SPDX-License-Identifier: GPL-2.0-or-later
"""What is left out over another plane is there, and says why."""

from pathlib import Path

import pytest

from tests import planes
from tests.house import ROOT
from vpngate.config import Plane

LIVE = ROOT / "tests" / "netns"


def test_what_is_about_one_plane_is_there_and_says_why() -> None:
    for name, reason in planes.ABOUT_NFTABLES.items():
        assert (LIVE / name).is_file()
        assert reason


@pytest.mark.parametrize("plane", Plane)
def test_it_is_left_out_over_the_other_alone(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planes, "PLANE", plane)
    left_out = bool(planes.why_not(LIVE / "test_kernel_table.py"))
    assert left_out is (plane is Plane.EBPF)
    assert planes.why_not(LIVE / "test_throttling.py") == ""
    assert planes.why_not(Path("tests/netns/test_smoke.py")) == ""
