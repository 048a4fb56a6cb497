# SPDX-License-Identifier: GPL-2.0-or-later
"""A source that keeps on saying "not modified", and a daemon that is started anew."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.faults.certificates import Authority
from tests.faults.registry_server import Connection, RegistryServer
from tests.unit.daemon.desk import Desk
from tests.unit.daemon.gatehouse import NOW, REGISTRY
from vpngate.feed import NoSourceAnswered
from vpngate.supply.keeper import ASK_WHOLE_AFTER

PATH = "/registry.csv"
REFRESH = 600.0  # seconds


@pytest.fixture
def desk(
    tmp_path: Path,
    authority: Authority,
    server: RegistryServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    server.publish(PATH, REGISTRY.encode(), ETag='"1"')
    desk = Desk(tmp_path)
    text = desk.config.read_text().replace(str(desk.registry), server.url(PATH))
    more = '[registry]\nallow_unsigned = true\nrefresh = "10m"'
    desk.config.write_text(text.replace("[registry]", more))
    return desk


def not_modified(connection: Connection) -> None:
    connection.head("304 Not Modified", ETag='"1"')


@pytest.mark.parametrize("restarts", [False, True])
def test_who_says_for_ever_that_nothing_has_changed_is_found_out(
    desk: Desk,
    server: RegistryServer,
    monkeypatch: pytest.MonkeyPatch,
    *,
    restarts: bool,
) -> None:
    """Asked with a condition or without one, through restarts or not."""
    late = 0.0
    monotonic = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + late)

    async def refreshed() -> bool:
        try:
            if restarts:
                await desk.open()
                return not desk.reloader.freshness.failure
            await desk.reloader.reload()
        except NoSourceAnswered:
            return False
        return True

    async def scenario() -> None:
        nonlocal late
        await desk.open()
        server.routes[PATH] = not_modified
        believed = 0
        while await refreshed():
            believed += 1
            assert believed <= ASK_WHOLE_AFTER
        assert "304" in desk.reloader.freshness.failure
        assert desk.reloader.stale() == []
        late += 3 * REFRESH + 10
        assert not await refreshed()
        if not restarts:  # a restart counts by the wall clock, see below
            assert "has not been refreshed" in desk.reloader.stale()[0]
        server.publish(PATH, REGISTRY.encode(), ETag='"1"')
        assert await refreshed()
        assert desk.reloader.stale() == []
        assert not desk.reloader.freshness.failure

    asyncio.run(scenario())


def test_a_restart_does_not_begin_the_three_intervals_anew(
    desk: Desk, server: RegistryServer
) -> None:
    async def scenario() -> None:
        gatehouse = await desk.open()
        desk.now = NOW + REFRESH
        await desk.reloader.reload()
        server.routes.clear()
        desk.now = NOW + 3.9 * REFRESH
        gatehouse = await desk.open()
        assert desk.reloader.freshness.failure
        assert desk.reloader.stale() == []
        at = "registry_last_refresh_success_timestamp_seconds"
        assert gatehouse.metric(at) == NOW + REFRESH
        desk.now = NOW + 4.1 * REFRESH
        gatehouse = await desk.open()
        assert "has not been refreshed" in desk.reloader.stale()[0]
        assert gatehouse.metric(at) == NOW + REFRESH
        server.publish(PATH, REGISTRY.encode(), ETag='"1"')
        await desk.open()
        assert desk.reloader.stale() == []

    asyncio.run(scenario())
