# SPDX-License-Identifier: GPL-2.0-or-later
"""Where hooks alone decide, as on a bridge, nobody inside can forge both halves.

    client, insider ─ lan0 ┬ br0 ─ wan0 ─ stranger
          neighbour ─ lan1 ┘

A frame does not go back out of the port that it came by. But it does go out of the
others: a bridge floods what it does not know, and an insider may tell it to.
"""

import contextlib
from collections.abc import Iterator

import pytest

from tests.lab import bridge, forging, rates, topology, victims, wireguard
from tests.lab.bridge import Bridge
from tests.lab.daemon import Daemon, Settings, daemon, enforcing_settings
from tests.lab.topology import Host, Site
from tests.lab.victims import Half, forge, named, nobody_slowed

VERSIONS = (4, 6)


def _settings(lab: Site) -> Settings:
    settings = enforcing_settings(lab)
    settings.change(gateway={"reverse_path": "hooks"})
    return settings


@pytest.fixture(scope="module")
def bridged() -> Iterator[Bridge]:
    with bridge.build() as built:
        yield built


@pytest.fixture(scope="module")
def enforcing(bridged: Bridge) -> Iterator[Daemon]:
    with daemon(bridged.gateway, _settings(bridged)) as running:
        yield running


def _stations(bridged: Bridge, where: str) -> tuple[str, str]:
    """Where the client's and the server's half are sent to, by Ethernet address."""
    return {
        "to their ends": (bridged.stranger.mac, bridged.client.mac),
        "to everybody": (forging.BROADCAST, forging.BROADCAST),
    }[where]


@pytest.mark.parametrize(
    ("who", "where"),
    [
        ("insider", "to everybody"),
        ("neighbour", "to their ends"),
        ("neighbour", "to everybody"),
    ],
)
def test_somebody_inside_sends_both_halves(
    bridged: Bridge, enforcing: Daemon, who: str, where: str
) -> None:
    sender, device = bridged.insider, "lan0"
    if who == "neighbour":
        sender, device = bridged.neighbour, "lan1"
    stations = _stations(bridged, where)
    _attack(enforcing, (bridged.client, bridged.stranger), (sender, device), stations)


def _attack(
    running: Daemon,
    ends: tuple[Host, Host],
    attacker: tuple[Host, str],
    stations: tuple[str | None, str | None],
) -> None:
    """Forge both ways round: the victim asks in IPv4, and answers in IPv6."""
    (sender, device), (to_server, to_client) = attacker, stations
    asking, asked = (
        victims.innocents(*ends, version, listening=listening)
        for version, listening in ((4, False), (6, True))
    )
    flows = [*named(asking, "wireguard"), *named(asked, "wireguard", "ike-natt")]
    with nobody_slowed(running, flows):
        forge(
            *(running.namespace, device, asking),
            Half(sender, "request", back=False, to=to_server),
            Half(sender, "answer", back=True, to=to_client),
        )
        forge(
            *(running.namespace, device, asked),
            Half(sender, "request", back=True, to=to_client),
            Half(sender, "answer", back=False, to=to_server),
        )


def test_a_neighbour_sends_both_halves_to_a_gateway_that_routes() -> None:
    """Without the kernel's own filter: what it sends the victim crosses both hooks."""
    with (
        topology.build() as lab,
        daemon(lab.gateway, _settings(lab)) as running,
    ):
        ends = lab.client, lab.stranger
        _attack(running, ends, (lab.neighbour, "lan1"), (None, None))


def test_real_tunnels_are_throttled_both_ways(
    bridged: Bridge, enforcing: Daemon
) -> None:
    """IPv4 and IPv6 have a bucket each, and so have upload and download."""
    known = int(victims.verdicts(enforcing)["wireguard"])
    with contextlib.ExitStack() as stack:
        tunnels = [
            stack.enter_context(
                wireguard.tunnel(bridged.client, bridged.stranger, version=version)
            )
            for version in VERSIONS
        ]
        enforcing.wait_for_flow("wireguard", "throttle", known + 2)
        measured = rates.class_rates_under(
            bridged,
            [rates.both_ways(tunnel.client, tunnel.server) for tunnel in tunnels],
        )
    assert measured == [pytest.approx(rates.RATE, rel=rates.TOLERANCE)] * 4
