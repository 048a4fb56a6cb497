# SPDX-License-Identifier: GPL-2.0-or-later
"""Three gateways of one registry, watched by a real Prometheus while much happens.

`tests/lab/watched_fleet.py` draws them. The registry is what `vpngate publish` writes,
signed by a key of the real minisign. The rules are those shipped, but for how long an
alert has to wait; the questions are those of the dashboards.
"""

import contextlib
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.lab.daemon import Daemon
from tests.lab.dashboards import FILES, asked, only, panels
from tests.lab.handshakes import wireguard
from tests.lab.namespaces import LabError, wait_until
from tests.lab.watched_fleet import (
    FORGED,
    MEMBER,
    MEMBERS,
    STRANGER,
    SUBSCRIBER,
    Fleet,
    watched_fleet,
)
from tests.unit.metrics.test_metrics import PINNED
from vpngate.timekeeping.moments import format_moment

pytestmark = [
    pytest.mark.skipif(
        not all(map(shutil.which, ("nginx", "minisign", "prometheus"))),
        reason="needs nginx, minisign and prometheus (Debian packages)",
    ),
    pytest.mark.timeout(600),
]

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


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with watched_fleet() as made:
        yield made


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
