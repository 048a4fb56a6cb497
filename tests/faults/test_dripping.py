# SPDX-License-Identifier: GPL-2.0-or-later
"""Two sources that send a byte now and then, and a daemon that is to slow less."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.certificates import Authority
from tests.faults.registry_server import Connection, RegistryServer
from tests.unit.daemon.desk import Desk
from tests.unit.daemon.gatehouse import REGISTRY, STRANGER, handshake
from vpngate.config import Mode

SOURCES = ("/first.csv", "/second.csv")
PATIENCE = 30.0  # seconds


@pytest.fixture
def desk(
    tmp_path: Path,
    authority: Authority,
    server: RegistryServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    desk = Desk(tmp_path)
    for path in SOURCES:
        server.publish(path, REGISTRY.encode())
    urls = ", ".join(f'"{server.url(path)}"' for path in SOURCES)
    text = desk.config.read_text().replace(f'"{desk.registry}"', urls)
    text = text.replace("[registry]", "[registry]\nallow_unsigned = true")
    desk.config.write_text(text)
    return desk


async def until(condition: Callable[[], bool], what: str) -> None:
    begin = time.monotonic()
    while not condition():
        await asyncio.sleep(0.005)
        assert time.monotonic() - begin < PATIENCE, what
    took = time.monotonic() - begin
    print(f"{what} after {1000 * took:.0f} ms")  # noqa: T201 - shown with -rP


def test_observe_and_protect_pass_by_two_sources_that_drip(
    desk: Desk, server: RegistryServer
) -> None:
    dripping = 0

    def drip(connection: Connection) -> None:
        nonlocal dripping
        dripping += 1
        connection.head(Content_Type="text/csv", Content_Length="100000")
        while True:
            connection.send(b"#")
            server.pause(0.05)

    async def scenario() -> None:
        gatehouse = await desk.open()
        (due,) = gatehouse.pipeline.take(handshake(), 1.0, gatehouse.now)
        await gatehouse.plane.throttle(due.flows)
        await gatehouse.plane.rearm()
        for path in SOURCES:
            server.routes[path] = drip
        reloads = [asyncio.create_task(desk.reloader.reload())]
        await until(lambda: dripping > 0, "dripping")
        with desk.config.open("a") as file:
            file.write('[protect]\nprefixes = ["198.51.100.0/24"]\n')
        reloads.append(asyncio.create_task(desk.reloader.reload()))
        plane = gatehouse.plane
        await until(lambda: plane.protected.contains(STRANGER.address), "protected")
        assert plane.flows == []
        assert plane.armed
        text = desk.config.read_text()
        desk.config.write_text(text.replace('"enforce"', '"observe"'))
        reloads.append(asyncio.create_task(desk.reloader.reload()))
        await until(lambda: not plane.ruleset.enforce, "observing")
        assert not gatehouse.plane.armed
        assert gatehouse.current.snapshot.config.gateway.mode is Mode.OBSERVE
        assert not any(each.done() for each in reloads)
        assert len(gatehouse.current.snapshot.registry) == 1
        desk.reloader.cancel()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*reloads, return_exceptions=True)

    asyncio.run(scenario())
