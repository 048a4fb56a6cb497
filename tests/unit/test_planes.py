# SPDX-License-Identifier: GPL-2.0-or-later
"""What is left out over another plane is there, and says why."""

from pathlib import Path

import pytest

from tests import planes
from tests.house import ROOT
from vpngate.config import Plane
from vpngate.kernel.programmed import programmed_table
from vpngate.tunnels import all_tunnels

LIVE = ROOT / "tests" / "netns"


def test_what_is_about_one_plane_is_there_and_says_why() -> None:
    for name, reason in planes.ABOUT_NFTABLES.items():
        assert (LIVE / name).is_file()
        assert reason
    for name, twin in planes.TWINS.items():
        assert name in planes.ABOUT_NFTABLES
        assert planes.why_not(LIVE / twin) == ""
        assert (LIVE / twin).is_file()


@pytest.mark.parametrize("plane", Plane)
def test_it_is_left_out_over_the_other_alone(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planes, "PLANE", plane)
    left_out = bool(planes.why_not(LIVE / "test_nflog.py"))
    assert left_out is (plane is Plane.EBPF)
    assert planes.why_not(LIVE / "test_throttling.py") == ""
    assert planes.why_not(Path("tests/netns/test_smoke.py")) == ""


def test_there_is_room_for_the_limits_of_all_signatures() -> None:
    signatures = [one for tunnel in all_tunnels() for one in tunnel.signatures]
    assert len(signatures) <= programmed_table._KINDS / 2
