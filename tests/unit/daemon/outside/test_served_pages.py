# SPDX-License-Identifier: GPL-2.0-or-later
"""Which pages are where, and that they follow the configuration in force."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from http.client import HTTPConnection
from typing import Any

from netaddr import IPNetwork

from tests.unit.daemon.gatehouse import NOW, snapshot
from tests.unit.public import sample
from vpngate.config.sections import HttpSection
from vpngate.config.values import Listen
from vpngate.daemon.outside import served_pages
from vpngate.http import HttpServer
from vpngate.packets import format_address
from vpngate.public.address_standing import AddressStanding, standing_of
from vpngate.public.question import AddressRange
from vpngate.public.transparency import transparency

PATHS = ("/", "/status.json", "/report.json", "/check", "/healthz", "/metrics")
SLOWED = "127.0.0.7"


def free() -> Listen:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return Listen("127.0.0.1", found.getsockname()[1])


class Daemon:
    """What the pages ask for; counts how often."""

    def __init__(self) -> None:
        self.settings = HttpSection(listen=str(free()))  # type: ignore[arg-type]
        self.asked = {"state": 0, "report": 0, "refresh": 0}
        self.slowed_of: list[str] = []
        self.servers: list[HttpServer] = []
        self.thread = threading.current_thread()

    async def state(self) -> dict[str, Any]:
        self.asked["state"] += 1
        return sample.state()

    async def report(self) -> dict[str, Any]:
        self.asked["report"] += 1
        made = sample.facts()
        config = made.config.model_copy(update={"http": self.settings})
        return transparency(sample.state(), replace(made, config=config))

    def trusted(self) -> Sequence[IPNetwork]:
        return self.settings.trusted_proxies

    def is_own(self, address: bytes) -> bool:
        return address in snapshot().machine.addresses

    def standing(self, question: AddressRange) -> AddressStanding:
        assert threading.current_thread() is not self.thread
        return standing_of(question, snapshot(), NOW, lambda s: s.registry.covered(NOW))

    async def slowed(self, address: bytes) -> bool:
        assert threading.current_thread() is self.thread
        self.slowed_of.append(format_address(address))
        return format_address(address) == SLOWED

    async def refresh(self) -> None:
        self.asked["refresh"] += 1

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        self.servers = served_pages.servers(
            lambda: self.settings,
            state=self.state,
            report=self.report,
            check=self,
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

    async def ask(
        self,
        path: str,
        place: int = 0,
        *,
        form: str | None = None,
        source: str = "127.0.0.1",
        **headers: str,
    ) -> tuple[int, str]:
        def get() -> tuple[int, str]:
            port = self.servers[place].port
            connection = HTTPConnection(
                "127.0.0.1", port, timeout=60, source_address=(source, 0)
            )
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            if form is not None:
                named["Content-Type"] = "application/x-www-form-urlencoded"
            with contextlib.closing(connection):
                method = "GET" if form is None else "POST"
                connection.request(method, path, form, headers=named)
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
            assert [(await daemon.ask(path))[0] for path in PATHS] == [200] * 6

    asyncio.run(run())


def test_a_listener_of_its_own_takes_metrics_and_health_with_it() -> None:
    async def run() -> None:
        daemon = Daemon()
        daemon.reload(metrics_listen=free())
        async with daemon.serving():
            at_first = [(await daemon.ask(path, 0))[0] for path in PATHS]
            assert at_first == [200, 200, 200, 200, 404, 404]
            at_second = [(await daemon.ask(path, 1))[0] for path in PATHS]
            assert at_second == [404, 404, 404, 404, 200, 200]

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
        for asked in (daemon.asked["report"], daemon.asked["refresh"]):
            assert 1 <= asked <= 2 + took * 10
            assert asked < 40

    asyncio.run(run())


def test_a_caller_is_told_of_his_own_tunnel_and_nobody_of_anothers() -> None:
    async def run() -> None:
        daemon = Daemon()
        async with daemon.serving():
            own = await daemon.ask("/check", source=SLOWED)
            assert "A VPN tunnel of your address is slowed now" in own[1]
            form = f"address={SLOWED}"
            assert (
                "is slowed now"
                in (await daemon.ask("/check", form=form, source=SLOWED))[1]
            )
            for source in ("127.0.0.8", "127.0.0.9"):
                status, page = await daemon.ask(
                    "/check", form=form, source=source, X_Forwarded_For=SLOWED
                )
                assert status == 200
                assert "your address is slowed" not in page
            assert daemon.slowed_of == [SLOWED] * 2
            daemon.reload(trusted_proxies=(IPNetwork("127.0.0.8/32"),))
            page = (
                await daemon.ask("/check", source="127.0.0.8", X_Forwarded_For=SLOWED)
            )[1]
            # A proxy on the machine is believed, but for what is the caller's alone.
            assert f"Your address {SLOWED}" in page
            assert "is not told here" in page
            assert daemon.slowed_of == [SLOWED] * 2
            page = (
                await daemon.ask("/check", source="127.0.0.9", X_Forwarded_For=SLOWED)
            )[1]
            assert "Your address 127.0.0.9" in page

    asyncio.run(run())


def test_what_is_typed_may_be_checked_at_another_method_by_nobody() -> None:
    async def run() -> None:
        daemon = Daemon()
        async with daemon.serving():
            assert (await daemon.ask("/", form="address=192.0.2.1"))[0] == 405
            assert (await daemon.ask("/report.json", form="a=b"))[0] == 405
            large = "address=" + "9" * 5000
            assert (await daemon.ask("/check", form=large))[0] == 413

    asyncio.run(run())
