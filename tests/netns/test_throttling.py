# SPDX-License-Identifier: GPL-2.0-or-later
"""Unregistered WireGuard is slowed to its rate; registered and plain is untouched.

On a gateway that routes and on one that masquerades, IPv4 and IPv6, both ways.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.lab import load, rates, topology, wireguard
from tests.lab.daemon import Daemon, daemon, enforcing_settings
from tests.lab.rates import Way
from tests.lab.topology import Lab
from tests.lab.wireguard import WireGuard

VERSIONS = (4, 6)
DIRECTIONS = ("upload", "download")


@dataclass(frozen=True)
class Scene:
    """A gateway that enforces, and tunnels that shook hands under its eyes."""

    lab: Lab
    daemon: Daemon
    registered: dict[int, WireGuard]  # by IP version of the outer packets
    unregistered: dict[int, WireGuard]
    neighbour: WireGuard  # unregistered, of the other subscriber
    control: dict[int, WireGuard]  # past vpngate's hooks


@pytest.fixture(scope="module", params=["routed", "masquerading"])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    with contextlib.ExitStack() as stack:
        masquerade = request.param == "masquerading"
        lab = stack.enter_context(topology.build(masquerade=masquerade))
        running = stack.enter_context(daemon(lab.gateway, enforcing_settings(lab)))

        def tunnel(client: topology.Host, server: topology.Host, v: int) -> WireGuard:
            return stack.enter_context(wireguard.tunnel(client, server, version=v))

        made = Scene(
            lab,
            running,
            registered={v: tunnel(lab.client, lab.member, v) for v in VERSIONS},
            unregistered={v: tunnel(lab.client, lab.stranger, v) for v in VERSIONS},
            neighbour=tunnel(lab.neighbour, lab.stranger, 4),
            control={v: tunnel(lab.member, lab.stranger, v) for v in VERSIONS},
        )
        running.wait_for_flow("wireguard", "throttle", 3)
        running.wait_for_flow("wireguard", "allow", 2)
        yield made


def _inner(tunnel: WireGuard, direction: str) -> Way:
    upload = Way(tunnel.client, tunnel.server)
    return upload if direction == "upload" else upload.back


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("version", VERSIONS)
def test_unregistered_tunnel_has_its_rate(
    scene: Scene, version: int, direction: str
) -> None:
    sender, receiver = _inner(scene.unregistered[version], direction)
    measured = rates.class_rates(scene.lab, sender, receiver)
    assert measured == [pytest.approx(rates.RATE, rel=rates.TOLERANCE)]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("version", VERSIONS)
def test_registered_tunnel_is_untouched(
    scene: Scene, version: int, direction: str
) -> None:
    flow, control = scene.registered[version], scene.control[version]
    offer = rates.beside(scene.lab, _inner(flow, direction), _inner(control, direction))
    assert offer.faults == []


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("version", VERSIONS)
def test_plain_traffic_of_the_same_hosts_is_untouched(
    scene: Scene, version: int, direction: str
) -> None:
    lab = scene.lab
    ways = [
        Way(host.at(version), lab.stranger.at(version))
        for host in (lab.client, lab.member)
    ]
    download = direction == "download"
    flow, control = [way.back for way in ways] if download else ways
    offer = rates.beside_plain(lab, flow, control, pull=download)
    assert offer.faults == []


def test_each_subscriber_has_a_bucket(scene: Scene) -> None:
    """Two subscribers at once get the rate each, not half of it."""
    own, other = scene.unregistered[4], scene.neighbour
    with load.stream(other.client, other.server, rate=3 * rates.RATE) as beside:
        measured = rates.class_rates(scene.lab, own.client, own.server)
        beside.stop()  # when its queue is empty: it is not the next one's
    assert measured == [pytest.approx(rates.RATE, rel=rates.TOLERANCE)] * 2


def test_two_tunnels_of_a_subscriber_share_its_bucket(scene: Scene) -> None:
    """IPv4 is one bucket however many tunnels a subscriber opens."""
    first = scene.unregistered[4]
    with (
        wireguard.tunnel(scene.lab.client, scene.lab.stranger) as second,
        load.stream(second.client, second.server, rate=3 * rates.RATE),
    ):
        scene.daemon.wait_for_flow("wireguard", "throttle", 4)
        measured = rates.class_rates(scene.lab, first.client, first.server)
    assert measured == [pytest.approx(rates.RATE, rel=rates.TOLERANCE)]


def test_metrics_tell_what_happened(scene: Scene) -> None:
    metric = scene.daemon.metric
    assert metric("vpngate_mode", mode="enforce") == 1
    assert metric("vpngate_throttled_flows", family="ipv4") >= 2
    assert metric("vpngate_throttled_flows", family="ipv6") >= 1
    for direction in DIRECTIONS:
        assert metric("vpngate_throttled_bytes_total", direction=direction) > 0
        assert metric("vpngate_throttled_packets_total", direction=direction) > 0
    assert metric("vpngate_kernel_in_sync") == 1
    assert metric("vpngate_deadman_armed") == 1
    assert metric("vpngate_capture_lost_packets_total") == 0
    assert scene.daemon.fetch("/healthz")[0] == 200
