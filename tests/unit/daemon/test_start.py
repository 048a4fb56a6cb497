# SPDX-License-Identifier: GPL-2.0-or-later
"""A start that fails leaves nothing behind, however late it fails."""

import asyncio
from pathlib import Path

import pytest

from tests.unit.daemon.desk import Desk
from tests.unit.daemon.gatehouse import MACHINE
from vpngate.daemon import gateway
from vpngate.daemon.applying.announcements import Announcements
from vpngate.daemon.capture_and_plane import Capture, CaptureAndPlane
from vpngate.daemon.gateway import Gateway
from vpngate.kernel.dryrun import DryRunDataPlane


class Noting(DryRunDataPlane):
    """Notes whether it was put up, and taken down again."""

    def __init__(self) -> None:
        super().__init__()
        self.is_up = False

    async def stop(self) -> None:
        await super().stop()
        self.is_up = False


def test_what_the_kernel_holds_goes_where_the_start_cannot_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane, desk = Noting(), Desk(tmp_path)

    def full(_self: Announcements, *_: object) -> None:
        plane.is_up = bool(plane.ruleset)
        raise MemoryError

    monkeypatch.setattr(gateway, "look", lambda _: MACHINE)

    def never(_: object) -> Capture:
        raise AssertionError

    made = CaptureAndPlane(plane, never)
    monkeypatch.setattr(gateway, "capture_and_plane", lambda *_: made)
    monkeypatch.setattr(Announcements, "started", full)
    daemon = Gateway(desk.read, str(desk.config), str(tmp_path / "socket"))
    with pytest.raises(MemoryError):
        asyncio.run(daemon.run())
    assert not plane.is_up
