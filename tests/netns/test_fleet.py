# SPDX-License-Identifier: GPL-2.0-or-later
"""A fleet shares a registry by nginx, minisign and TLS, and nearly everything fails.

                          ┌ 192.0.2.1:8441  primary  ┐
    gateway A  192.0.2.11 ┤ 192.0.2.1:8442  mirror   ├ three nginx, one host
    gateway B  192.0.2.12 ┤ 192.0.2.1:8443  archive  ┘
                          └ one bridge

Both gateways ask primary, mirror, archive in this order, every second. While the test
goes on, a watcher asks both kernels without a pause whether what the first registry
registered is still spared.
"""

import contextlib
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.certificates import Authority
from tests.lab import fleet as lab
from tests.lab.asked_kernel import spares
from tests.lab.daemon import VPNGATE, Daemon, Settings, daemon
from tests.lab.namespaces import Namespace, settle
from tests.lab.served import Mirror, minisign

pytestmark = [
    pytest.mark.skipif(
        shutil.which("nginx") is None or shutil.which("minisign") is None,
        reason="needs nginx and minisign (Debian packages)",
    ),
    pytest.mark.timeout(300),
]

# Three sources with three attempts each, one second and two between them: what a
# gateway needs for one round when nothing answers, three times over.
PATIENCE = 180.0  # seconds
PREFIXES = (
    "203.0.113.0/24",
    "2001:db8:a::/48",
    "198.51.100.0/25",
    "2001:db8:b::/48",
    "198.51.100.128/25",
    "2001:db8:c::/48",
)


@dataclass
class Publisher:
    """The signing machine: registries by serial, each signed by minisign."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir()
        minisign("-G", "-W", "-p", self._key("pub"), "-s", self._key("sec"))
        self.public_key = Path(self._key("pub")).read_text().splitlines()[1]

    def _key(self, kind: str) -> str:
        return str(self.folder / f"key.{kind}")

    def registry(self, serial: int) -> Path:
        """A folder with registry number `serial`, which has `serial` + 1 prefixes."""
        folder = self.folder / f"serial-{serial}"
        folder.mkdir()
        registrations = [
            {"prefix": prefix, "registration": f"R-{1000 + place}"}
            for place, prefix in enumerate(PREFIXES[: serial + 1])
        ]
        page = {"registry": "fleet", "serial": serial, "registrations": registrations}
        (folder / "registry.json").write_text(json.dumps(page, indent=1))
        self.sign(folder)
        return folder

    def sign(self, folder: Path) -> None:
        path = str(folder / "registry.json")
        minisign("-S", "-s", self._key("sec"), "-m", path)


@dataclass
class Watcher:
    """Asks the kernels of both gateways again and again whether all is spared."""

    gateways: list[Daemon]
    addresses: list[str]
    asked: int = 0
    missing: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        stop = threading.Event()

        def run() -> None:
            while not stop.is_set():
                for number, gateway in enumerate(self.gateways):
                    for address in self.addresses:
                        self.asked += 1
                        if not spares(gateway, address):
                            self.missing.append(f"{address} at gateway {number}")

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@dataclass
class Fleet:
    publisher: Publisher
    primary: Mirror
    mirror: Mirror
    archive: Mirror
    settings: list[Settings]
    namespaces: list[Namespace]
    authority: Authority

    @property
    def mirrors(self) -> list[Mirror]:
        return [self.primary, self.mirror, self.archive]

    def gateway(self, number: int) -> "contextlib.AbstractContextManager[Daemon]":
        trusted = f"SSL_CERT_FILE={self.authority.path}"
        program = ("env", trusted, VPNGATE, "run")
        return daemon(self.namespaces[number], self.settings[number], program)


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="vpngate-"))
        )
        (folder / "authority").mkdir()
        authority = Authority(folder / "authority")
        publisher = Publisher(folder / "publisher")
        hub = lab.hub(folder, stack)
        primary, mirror, archive = mirrors = [
            Mirror(hub, folder / f"nginx-{port}", port, authority)
            for port in (8441, 8442, 8443)
        ]
        namespaces, settings = [], []
        for number in range(2):
            gateway = lab.gateway(number, hub, folder, stack)
            gateway.ip(
                "link add lan0 type veth peer name subscriber",
                "addr add 100.64.0.1/24 dev lan0",
                "link set lan0 up",
                "link set subscriber up",
            )
            files = Settings(folder / f"daemon{number}")
            files.change(
                gateway={"mode": "enforce", "interfaces": ["lan0"]},
                registry={
                    "sources": [each.url for each in mirrors],
                    "public_key": publisher.public_key,
                    "refresh": "1s",
                },
            )
            namespaces.append(gateway)
            settings.append(files)
        settle(hub, *namespaces)
        for each in mirrors:
            stack.callback(each.stop)
        yield Fleet(
            publisher, primary, mirror, archive, settings, namespaces, authority
        )


def serial(gateway: Daemon) -> float:
    return gateway.metric("vpngate_registry_serial")


def wait_for_serial(gateways: list[Daemon], expected: int) -> None:
    """All gateways have it, in user space and in the kernel, and nothing less."""
    for gateway in gateways:
        gateway.wait_until(
            lambda gateway=gateway: serial(gateway) == expected,  # type: ignore[misc]
            f"serial {expected}",
            PATIENCE,
        )
        for prefix in PREFIXES[: expected + 1]:
            address = prefix.split("/")[0]
            address += "5" if ":" in address else ""
            assert spares(gateway, address), prefix
        families = {"ipv4": (expected + 2) // 2, "ipv6": (expected + 1) // 2}
        for family, count in families.items():
            assert gateway.metric("vpngate_registry_prefixes", family=family) == count


def wait_for_words(gateways: list[Daemon], *words: str) -> None:
    """Each gateway says all of this from now on, in one line each."""
    starts = [len(gateway.process.output()) for gateway in gateways]
    for gateway, start in zip(gateways, starts, strict=True):

        def said(gateway: Daemon = gateway, start: int = start) -> bool:
            lines = gateway.process.output()[start:].splitlines()
            return all(any(word in line for line in lines) for word in words)

        gateway.wait_until(said, f"the words {words}", PATIENCE)


def refusals(gateways: list[Daemon]) -> list[float]:
    return [g.metric("vpngate_registry_loads_refused_total") for g in gateways]


def test_fleet_never_loses_a_registration(fleet: Fleet) -> None:
    first = fleet.publisher.registry(1)
    for mirror in fleet.mirrors:
        mirror.serve(first)
        mirror.start()
    with fleet.gateway(1) as second:
        with fleet.gateway(0) as other:
            gateways = [other, second]
            wait_for_serial(gateways, 1)
            watcher = Watcher(gateways, ["203.0.113.5", "2001:db8:a::5"])
            with watcher.watching():
                through_troubles(fleet, gateways, first)
            assert watcher.missing == []
            assert watcher.asked > 100
        starts_without_sources(fleet, second)


def through_troubles(fleet: Fleet, gateways: list[Daemon], first: Path) -> None:
    # A change reaches both.
    second = fleet.publisher.registry(2)
    for mirror in fleet.mirrors:
        mirror.serve(second)
    wait_for_serial(gateways, 2)

    # The primary dies; a change reaches both by the mirror.
    fleet.primary.stop()
    third = fleet.publisher.registry(3)
    fleet.mirror.serve(third)
    wait_for_words(gateways, f"{fleet.primary.url}: cannot be reached")
    wait_for_serial(gateways, 3)

    # The mirror's copy is cut short; a change reaches both by the archive.
    fourth = fleet.publisher.registry(4)
    fleet.mirror.serve(fourth, cut=150)
    fleet.archive.serve(fourth)
    wait_for_words(gateways, "the signature does not fit the registry")
    wait_for_serial(gateways, 4)

    # The archive goes back to an old serial, under its old signature ...
    before = refusals(gateways)
    fleet.archive.serve(first)
    wait_for_words(gateways, "before the registry that stands")
    # ... and signed anew, so that only the serial tells.
    time.sleep(1.0)  # minisign's time stamps have seconds
    fleet.publisher.sign(first)
    fleet.archive.serve(first)
    wait_for_words(gateways, "serial 1, older than 4")
    wait_for_serial(gateways, 4)
    assert all(now > then for now, then in zip(refusals(gateways), before, strict=True))
    for gateway in gateways:
        assert gateway.metric("vpngate_registry_last_load_successful") == 0


def starts_without_sources(fleet: Fleet, second: Daemon) -> None:
    """The first gateway was stopped; it starts with what it kept, and catches up."""
    fleet.mirror.stop()
    fleet.archive.stop()
    with fleet.gateway(0) as restarted:
        gateways = [restarted, second]
        assert "starting with the last good registry" in restarted.process.output()
        wait_for_serial(gateways, 4)
        fifth = fleet.publisher.registry(5)
        fleet.primary.serve(fifth)
        fleet.primary.start()
        wait_for_serial(gateways, 5)
        for gateway in gateways:
            assert gateway.metric("vpngate_registry_last_load_successful") == 1
