# SPDX-License-Identifier: GPL-2.0-or-later
"""Which reload does the work of several, and what is true of the registry now."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.unit.daemon.gatehouse import REGISTRY
from tests.unit.daemon.test_reload import Desk
from vpngate.daemon import keeper
from vpngate.registry import load


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_of_many_that_ask_one_reload_waits_behind_the_one_that_runs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read nothing yet, so it sees whatever the later ones were about."""
    loads: list[bytes] = []

    def counted(data: bytes, **options: Any) -> Any:
        loads.append(data)
        return load(data, **options)

    async def scenario() -> None:
        gatehouse = await desk.open()
        monkeypatch.setattr(keeper, "load", counted)
        desk.registry.write_text(REGISTRY + "198.51.100.0/24,R-9\n")
        asked = []
        for _ in range(100):
            asked.append(asyncio.create_task(desk.reloader.reload()))
            await asyncio.sleep(0)
        outcomes = [each["registry"] for each in await asyncio.gather(*asked)]
        assert len(loads) == 1
        assert {each[:5] for each in outcomes} <= {"taken", "uncha"}
        assert len(gatehouse.current.snapshot.registry) == 2

    asyncio.run(scenario())
