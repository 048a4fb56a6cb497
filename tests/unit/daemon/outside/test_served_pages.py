# SPDX-License-Identifier: GPL-2.0-or-later
"""Which pages are where, and that they follow the configuration in force."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from http.client import HTTPConnection
from typing import Any

from vpngate.config.sections import HttpSection
from vpngate.config.values import Listen
from vpngate.daemon.outside import served_pages
from vpngate.http import HttpServer

STATE: dict[str, Any] = {
    "mode": "observe",
    "flows": {},
    "registry": {"prefixes": {"ipv4": 1, "ipv6": 0}},
}
PATHS = ("/", "/status.json", "/healthz", "/metrics")


def free() -> Listen:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return Listen("127.0.0.1", found.getsockname()[1])


class Daemon:
    """What the pages ask for; counts how often."""

    def __init__(self) -> None:
        self.settings = HttpSection(listen=str(free()))  # type: ignore[arg-type]
        self.asked = {"state": 0, "refresh": 0}
        self.servers: list[HttpServer] = []

    async def state(self) -> dict[str, Any]:
        self.asked["state"] += 1
        return dict(STATE)

    async def refresh(self) -> None:
        self.asked["refresh"] += 1

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        self.servers = served_pages.servers(
            lambda: self.settings,
            state=self.state,
            refresh=self.refresh,
            reasons=list,
            notes=lambda: ["a note"],
            exposition=lambda _accept: (b"numbers", "text/plain"),
        )
        for server in self.servers:
            server.start()
        try:
            yield
        finally:
            for server in self.servers:
                await asyncio.to_thread(server.stop)

    async def ask(self, path: str, place: int = 0, **headers: str) -> tuple[int, str]:
        def get() -> tuple[int, str]:
            port = self.servers[place].port
            connection = HTTPConnection("127.0.0.1", port, timeout=10)
            with contextlib.closing(connection):
                connection.request("GET", path, headers=headers)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()

        return await asyncio.to_thread(get)

    def reload(self, **keys: object) -> None:
        self.settings = self.settings.model_copy(update=keys)


def test_one_listener_has_all_pages() -> None:
    async def run() -> None:
        daemon = Daemon()
        async with daemon.serving():
            assert len(daemon.servers) == 1
            assert [(await daemon.ask(path))[0] for path in PATHS] == [200] * 4

    asyncio.run(run())


def test_a_listener_of_its_own_takes_metrics_and_health_with_it() -> None:
    async def run() -> None:
        daemon = Daemon()
        daemon.reload(metrics_listen=free())
        async with daemon.serving():
            at_first = [(await daemon.ask(path, 0))[0] for path in PATHS]
            assert at_first == [200, 200, 404, 404]
            at_second = [(await daemon.ask(path, 1))[0] for path in PATHS]
            assert at_second == [404, 404, 200, 200]

    asyncio.run(run())


def test_a_reload_takes_contact_url_and_names() -> None:
    async def run() -> None:
        daemon = Daemon()
        async with daemon.serving():
            assert "noc@" not in (await daemon.ask("/"))[1]
            daemon.reload(
                contact="noc@a.example", registration_url="https://a.example/r"
            )
            page = (await daemon.ask("/"))[1]
            assert "noc@a.example" in page
            assert 'href="https://a.example/r"' in page
            assert (await daemon.ask("/", Host="evil.example"))[0] == 200
            daemon.reload(names=("gw.example",))
            assert (await daemon.ask("/", Host="evil.example"))[0] == 421
            assert (await daemon.ask("/", Host="GW.example:80"))[0] == 200

    asyncio.run(run())


def test_the_daemon_is_asked_once_for_many() -> None:
    async def run() -> None:
        daemon = Daemon()
        async with daemon.serving():
            begin = asyncio.get_running_loop().time()
            many = [daemon.ask(path) for path in ("/", "/metrics") * 40]
            answers = await asyncio.gather(*many)
            took = asyncio.get_running_loop().time() - begin
        assert {status for status, _ in answers} == {200}
        # Ten times a second at most, the first one at once.
        for asked in daemon.asked.values():
            assert 1 <= asked <= 2 + took * 10
            assert asked < 40

    asyncio.run(run())
