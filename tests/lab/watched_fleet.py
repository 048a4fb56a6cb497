# SPDX-License-Identifier: GPL-2.0-or-later
"""Three gateways of one registry, and a real Prometheus that watches them.

    subscriber ── lan0 ┐ gateway 1 ┐
                       │ gateway 2 ├ one bridge ── a host: nginx, Prometheus, and the
                       │ gateway 3 ┘               far end of the subscriber's tunnels

Knows how they are set up and started; does not know what happens to them.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.certificates import Authority
from tests.lab import fleet
from tests.lab.daemon import HARNESS, Daemon, Settings
from tests.lab.fleet import address
from tests.lab.namespaces import Namespace, settle
from tests.lab.prometheus import Prometheus, prometheus
from tests.lab.served import SERVER, Mirror, Portal

STRANGER, MEMBER = "198.51.100.1", "203.0.113.5"
MEMBERS = "203.0.113.0/24"
SUBSCRIBER, FORGED = "100.64.1.2", "100.64.9.9"


@dataclass
class Fleet:
    hub: Namespace
    subscriber: Namespace
    portal: Portal
    nginx: Mirror
    gateways: list[Daemon]
    eyes: Prometheus
    begun: float = field(default_factory=time.time)

    @property
    def names(self) -> list[str]:
        return [f"{address(number)}:9753" for number in range(3)]

    def publish(self, key: str, *options: str) -> None:
        self.portal.publish(key, *options)

    def wait_for_serial(self, serial: int, *numbers: int) -> None:
        """These gateways have it, by what Prometheus sees."""
        for number in numbers or range(3):
            name = self.names[number]
            self.eyes.wait_until(
                f'vpngate_registry_serial{{instance="{name}"}}', serial
            )


def plugged(gateway: Namespace, near: Namespace) -> None:
    """lan0, and a subscriber behind it."""
    gateway.ip(
        f"link add lan0 type veth peer name eth0 netns {near.path}",
        "addr add 100.64.1.1/24 dev lan0",
        "link set lan0 up",
    )
    near.ip(
        "link set lo up",
        f"addr add {SUBSCRIBER}/24 dev eth0",
        f"addr add {FORGED}/32 dev lo",
        "link set eth0 up",
        "route add default via 100.64.1.1",
    )


@contextlib.contextmanager
def watched_fleet() -> Iterator[Fleet]:
    """All of it, for the length of a with block."""
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="vpngate-"))
        )
        (folder / "authority").mkdir()
        authority = Authority(folder / "authority")
        hub = fleet.hub(
            folder,
            stack,
            *(f"addr add {end}/32 dev lo" for end in (STRANGER, MEMBER)),
        )
        hub.ip(f"route add 100.64.1.0/24 via {address(0)}")
        nginx = Mirror(hub, folder / "nginx", 8441, authority)
        portal = Portal(folder, folder / "nginx" / "www")
        key = portal.new_key("first")
        places = [fleet.gateway(number, hub, folder, stack) for number in range(3)]
        nears = [Namespace(f"near{number}", folder) for number in range(3)]
        for gateway, near in zip(places, nears, strict=True):
            stack.callback(near.close)
            afar = (STRANGER, MEMBERS)
            gateway.ip(*(f"route add {end} via {SERVER}" for end in afar))
            plugged(gateway, near)
        settle(hub, *places)
        portal.publish("first")
        stack.callback(nginx.stop)
        nginx.start()
        daemons = [started(place, nginx, key, stack) for place in places]
        for one in daemons:
            one.wait_until_ready()
        targets = [f"{address(number)}:9753" for number in range(3)]
        eyes = stack.enter_context(prometheus(hub, folder / "prometheus", targets))
        yield Fleet(hub, nears[0], portal, nginx, daemons, eyes)


def started(
    place: Namespace, nginx: Mirror, key: str, stack: contextlib.ExitStack
) -> Daemon:
    """A daemon that is about to answer."""
    settings = Settings(place.folder / f"daemon-{place.name}")
    settings.change(
        gateway={"mode": "enforce", "interfaces": ["lan*"]},
        registry={"sources": [nginx.url], "public_key": key, "refresh": "1s"},
        http={"listen": "0.0.0.0:9753"},
    )
    program = ("env", f"SSL_CERT_FILE={nginx.authority.path}", *HARNESS)
    command = (*program, "--verify-every", "3600", "--config", str(settings.config))
    process = stack.enter_context(
        place.running(*command, "--socket", str(settings.socket))
    )
    return Daemon(place, settings, process)
