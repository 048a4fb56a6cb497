# SPDX-License-Identifier: GPL-2.0-or-later
"""Three gateways of one registry, watched by a real Prometheus while much happens.

    subscriber ── lan0 ┐ gateway 1 ┐
                       │ gateway 2 ├ one bridge ── a host: nginx, Prometheus, and the
                       │ gateway 3 ┘               far end of the subscriber's tunnels

The registry is what `vpngate publish` writes, signed by a key of the real minisign. The
rules are those shipped, but for how long an alert has to wait; the questions are those
of the dashboards.
"""

import contextlib
import json
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.faults.certificates import Authority
from tests.lab.daemon import HARNESS, Daemon, Settings
from tests.lab.dashboards import FILES, asked, only, panels
from tests.lab.handshakes import wireguard
from tests.lab.namespaces import LabError, Namespace, settle, wait_until
from tests.lab.prometheus import Prometheus, prometheus
from tests.netns.test_fleet import SERVER, Mirror
from tests.netns.test_publish_live import Portal
from tests.unit.metrics.test_metrics import PINNED
from vpngate.timekeeping.moments import format_moment

pytestmark = [
    pytest.mark.skipif(
        not all(map(shutil.which, ("nginx", "minisign", "prometheus"))),
        reason="needs nginx, minisign and prometheus (Debian packages)",
    ),
    pytest.mark.timeout(600),
]

STRANGER, MEMBER = "198.51.100.1", "203.0.113.5"
MEMBERS = "203.0.113.0/24"
SUBSCRIBER, FORGED = "100.64.1.2", "100.64.9.9"
BEHIND = 2  # the gateway that falls behind
ENDS_AFTER = 30.0  # seconds: a registration that ends meanwhile
# What keeps a gateway from asking.
BLOCKED = """
table inet away {
    chain out {
        type filter hook output priority 0
        tcp dport 8441 reject with tcp reset
    }
}
"""
# What stays as it is while nothing is changed that it is about.
CONSTANT = {
    "Version",
    "Versions",
    "Gateways by version",
    "Gateways",
    "They answer",
    "Kernel in sync",
    "Rows left out",
}


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


def address(number: int) -> str:
    return f"192.0.2.{11 + number}"


def built(
    number: int, hub: Namespace, folder: Path, stack: contextlib.ExitStack
) -> Namespace:
    """A gateway's namespace, on the bridge; what its lan0 leads to is not there yet."""
    gateway = Namespace(f"gateway{number}", folder)
    stack.callback(gateway.close)
    gateway.sysctl("net.ipv6.conf.default.accept_dad", 0)
    gateway.sysctl("net.ipv4.ip_forward", 1)
    gateway.ip(
        "link set lo up",
        f"link add wan0 type veth peer name port{number} netns {hub.path}",
        f"addr add {address(number)}/24 dev wan0",
        "link set wan0 up",
        f"route add {STRANGER} via {SERVER}",
        f"route add {MEMBERS} via {SERVER}",
    )
    hub.ip(f"link set port{number} master hub up")
    return gateway


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


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="vpngate-"))
        )
        (folder / "authority").mkdir()
        authority = Authority(folder / "authority")
        hub = Namespace("hub", folder)
        stack.callback(hub.close)
        hub.sysctl("net.ipv6.conf.default.accept_dad", 0)
        hub.ip(
            "link set lo up",
            "link add hub type bridge",
            f"addr add {SERVER}/24 dev hub",
            f"addr add {STRANGER}/32 dev lo",
            f"addr add {MEMBER}/32 dev lo",
            "link set hub up",
            f"route add 100.64.1.0/24 via {address(0)}",
        )
        nginx = Mirror(hub, folder / "nginx", 8441, authority)
        portal = Portal(folder, folder / "nginx" / "www")
        key = portal.new_key("first")
        places = [built(number, hub, folder, stack) for number in range(3)]
        nears = [Namespace(f"near{number}", folder) for number in range(3)]
        for gateway, near in zip(places, nears, strict=True):
            stack.callback(near.close)
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


def exposed(gateway: Daemon) -> dict[str, tuple[str, set[str]]]:
    """Each metric of ours that is on the page, its kind and its labels."""
    found: dict[str, tuple[str, set[str]]] = {}
    for family in text_string_to_metric_families(gateway.fetch("/metrics")[1]):
        for sample in family.samples:
            if family.name.startswith("vpngate_") and "le" not in sample.labels:
                name = sample.name.removesuffix("_sum").removesuffix("_count")
                found[name] = (family.type, set(sample.labels))
    return found


def talk(fleet: Fleet, far: str, port: int) -> Callable[[], None]:
    """A tunnel between the subscriber and a far end; what sends a little in it."""
    opening = wireguard()

    def opened(own: str, number: int) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.settimeout(60)
        made.bind((own, number))
        return made

    near = fleet.subscriber.call(lambda: opened(SUBSCRIBER, port))
    remote = fleet.hub.call(lambda: opened(far, opening.port))
    near.sendto(opening.request, (far, opening.port))
    _, back = remote.recvfrom(2048)
    remote.sendto(opening.answer, back)
    near.recv(2048)

    def some() -> None:
        for _ in range(20):
            near.sendto(bytes(200), (far, opening.port))
            remote.sendto(bytes(200), back)

    return some


def one_way(fleet: Fleet) -> None:
    """A handshake of somebody who does not live there."""

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.bind((FORGED, 0))
            made.sendto(wireguard().request, (STRANGER, 51820))

    fleet.subscriber.call(send)


def traffic(fleet: Fleet) -> None:
    """Gateway 1 slows a stranger's tunnel and no member's; then it halts, and is told.

    What it would spare, were there a verdict, has one past every check.
    """
    first, eyes, here = fleet.gateways[0], fleet.eyes, f'instance="{fleet.names[0]}"'
    first.command("enforce", "--for", "8h")
    some = talk(fleet, STRANGER, 40001)
    talk(fleet, MEMBER, 40002)()
    one_way(fleet)
    eyes.wait_until(f"sum(vpngate_throttled_flows{{{here}}})", 1)
    eyes.wait_until(f"vpngate_throttled_subscribers{{{here}}}", 1)
    with sending(some):
        eyes.wait_until(f"sum(vpngate_throttled_bytes_total{{{here}}}) > bool 4000", 1)
    first.ask("throttle_regardless", subscriber=[SUBSCRIBER, 40003], remote=[MEMBER, 9])

    def spared() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.bind((SUBSCRIBER, 40003))
            for _ in range(5):
                made.sendto(bytes(100), (MEMBER, 9))

    fleet.subscriber.call(spared)
    eyes.wait_until(f"sum(vpngate_spared_packets_total{{{here}}})", 5)
    for _ in range(2):
        first.ask("lose_spared", prefix=MEMBERS)
        first.ask("verify")
    eyes.wait_until(f'vpngate_mode{{mode="observe", {here}}}', 1)
    wait_until(
        lambda: (
            {
                ("VpngateHalted", fleet.names[0]),
                ("VpngateKernelRepaired", fleet.names[0]),
            }
            <= eyes.firing()
        ),
        "the alerts about it",
    )
    first.command("enforce")
    eyes.wait_until('sum(vpngate_mode{mode="enforce"})', 3)


@contextlib.contextmanager
def sending(some: Callable[[], None]) -> Iterator[None]:
    """It goes on, a few packets at a time."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.1):
            some()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def one_falls_behind(fleet: Fleet) -> None:
    """And the fleet's dashboard shows which; once it can ask again it catches up."""
    eyes, last = fleet.eyes, fleet.names[BEHIND]
    place = fleet.gateways[BEHIND].namespace
    place.run("nft", "-f", "-", stdin=BLOCKED)
    fleet.gateways[0].settings.config.write_text("[gateway]\n")  # no interfaces
    with pytest.raises(LabError):
        fleet.gateways[0].command("reload")
    end = format_moment(round(time.time() + ENDS_AFTER))
    more = f"198.51.100.128/25,R-3,\n192.0.2.128/25,R-9,{end}\n"
    rows = fleet.portal.rows.read_text().replace("tion\n", "tion,valid_until\n", 1)
    rows = rows.replace("R-1\n", "R-1,\n").replace("R-2\n", "R-2,\n")
    fleet.portal.rows.write_text(rows + more)
    fleet.publish("first")
    fleet.wait_for_serial(2, 0, 1)
    apart = answers(fleet, "fleet.json", "Who holds another registry than most")
    assert [labels["instance"] for labels in apart] == [last]
    serials = fleet.eyes.now(only("fleet.json", "Serials behind the newest"))
    assert {dict(key)["instance"]: value for key, value in serials.items()} == {
        **dict.fromkeys(fleet.names[:BEHIND], 0.0),
        last: 1.0,
    }
    assert eyes.number(only("fleet.json", "Registries in force")) == 2
    expected = {
        ("VpngateRegistryBehind", last),
        ("VpngateRegistryRefused", last),
        ("VpngateFleetApart", ""),
        ("VpngateUnhealthy", last),
        ("VpngateConfigRefused", fleet.names[0]),
    }
    wait_until(lambda: expected <= eyes.firing(), f"{expected}")
    others = {("VpngateRegistryBehind", name) for name in fleet.names[:BEHIND]}
    assert not others & eyes.firing()
    place.run("nft", "delete", "table", "inet", "away")
    fleet.gateways[0].settings.change()
    fleet.gateways[0].command("reload")
    fleet.wait_for_serial(2)
    eyes.wait_until(only("fleet.json", "Registries in force"), 1)
    assert answers(fleet, "fleet.json", "Who holds another registry than most") == []
    wait_until(lambda: not expected & eyes.firing(), "quiet again")


def another_key(fleet: Fleet) -> None:
    """All trust two for a while; then one signs, then the other; then one is enough."""
    eyes = fleet.eyes
    keys = [
        fleet.gateways[0].settings.config.read_text().split('public_key = "')[1][:56],
        fleet.portal.new_key("second"),
    ]
    trust(fleet, keys)
    eyes.wait_until("min(count by (key_id) (vpngate_registry_public_key_info))", 3)
    fleet.publish("second")
    fleet.wait_for_serial(3)
    trust(fleet, keys[1:])
    eyes.wait_until("count(count by (key_id) (vpngate_registry_public_key_info))", 1)
    fleet.publish("second")
    fleet.wait_for_serial(4)
    refused = 'sum(vpngate_registry_loads_refused_total{reason="signature_key"})'
    assert eyes.number(refused) == 0


def trust(fleet: Fleet, keys: list[str]) -> None:
    for gateway in fleet.gateways:
        gateway.settings.change(registry={"public_key": keys})
        gateway.command("reload")


def all_are_suspended(fleet: Fleet) -> None:
    """With the registry that says so, and not a look later."""
    fleet.publish("second", "--suspend", "we are looking")
    fleet.wait_for_serial(5)
    eyes = fleet.eyes
    eyes.wait_until('sum(vpngate_mode{mode="observe"})', 3)
    enforcing = 'vpngate_mode{mode="enforce"} == 1'
    late = f"vpngate_registry_serial == 5 and on (instance) {enforcing}"
    assert eyes.over(late, fleet.begun, time.time()) == []
    for gateway in fleet.gateways:
        # (The daemon says why.)
        assert "we are looking" in json.dumps(gateway.ask("status"))


def answers(fleet: Fleet, name: str, title: str) -> list[dict[str, str]]:
    return [dict(labels) for labels in fleet.eyes.now(only(name, title))]


def without_data(fleet: Fleet, end: float) -> tuple[list[str], list[str]]:
    """The questions that have no answer, and the panels on which nothing changes."""
    silent, still = [], []
    most = 0.8 * (end - fleet.begun)  # what has fewer values came, or went
    for name in FILES:
        for panel in panels(name):
            changed = False
            for target in panel["targets"]:
                found = [
                    fleet.eyes.over(asked(target["expr"], instance), fleet.begun, end)
                    for instance in fleet.names
                ]
                if not any(found):
                    silent.append(f"{name}: {panel['title']}: {target['expr']}")
                changed |= any(
                    len(set(one.values)) > 1 or len(one.values) < most
                    for each in found
                    for one in each
                )
            if not changed:
                still.append(panel["title"])
    return silent, still


def test_a_fleet_is_watched_through_what_happens_to_it(fleet: Fleet) -> None:
    eyes = fleet.eyes
    eyes.wait_until("sum(up)", 3)
    fleet.wait_for_serial(1)
    assert eyes.number(only("fleet.json", "Registries in force")) == 1
    digests = {
        gateway.ask("status")["registry"]["digest"] for gateway in fleet.gateways
    }
    assert len(digests) == 1
    told = {name.removesuffix("_count"): kind for name, kind in PINNED.items()}
    assert [exposed(gateway) for gateway in fleet.gateways] == [told] * 3
    fleet.gateways[0].namespace.ip(
        "link add lan1 type veth peer name eth1", "link set lan1 up"
    )
    traffic(fleet)
    one_falls_behind(fleet)
    another_key(fleet)
    all_are_suspended(fleet)
    eyes.wait_until("sum(vpngate_registry_grace_prefixes)", 3)  # it has ended
    silent, still = without_data(fleet, time.time())
    assert silent == []
    assert set(still) <= CONSTANT, set(still) - CONSTANT
