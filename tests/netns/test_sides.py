# SPDX-License-Identifier: GPL-2.0-or-later
"""Real tunnels are throttled on either side of a gateway, and between two subscribers.

The operator filters by reverse path himself: IPv4 by the kernel's own filter, IPv6,
which has none, by a rule of nftables.
"""

import contextlib
import itertools
import time

import pytest

from tests.lab import load, rates, wireguard
from tests.lab.daemon import Daemon
from tests.lab.sided import gateway, shake_hands
from tests.lab.topology import Host, Lab, Place

VERSIONS = (4, 6)
_MOST = 10  # addresses of a subscriber: all alike once in a thousand times
_READ = 0.7  # seconds: the daemon's reading of its counters is no older
_SLOWED = 0.6  # a third of what is offered arrives, and what the queue holds


@pytest.mark.parametrize(
    ("side", "masquerade"),
    [("subscriber", True), ("uplink", False)],
    ids=["subscriber, masquerading", "uplink"],
)
def test_real_tunnels_are_throttled_both_ways(side: str, *, masquerade: bool) -> None:
    """IPv4 and IPv6 have a bucket each, and so have upload and download."""
    with contextlib.ExitStack() as stack:
        lab, running = stack.enter_context(gateway(side, masquerade=masquerade))
        tunnels = [
            stack.enter_context(
                wireguard.tunnel(lab.client, lab.stranger, version=version)
            )
            for version in VERSIONS
        ]
        running.wait_for_flow("wireguard", "throttle", 2)
        measured = rates.class_rates_under(
            lab, [rates.both_ways(tunnel.client, tunnel.server) for tunnel in tunnels]
        )
    assert measured == [pytest.approx(rates.RATE, rel=rates.TOLERANCE)] * 4


@pytest.mark.parametrize("kind", ["real, IPv4", "by hand, IPv6"])
def test_between_subscribers_each_direction_is_its_senders_upload(kind: str) -> None:
    """What either sends elsewhere has to share with it, and nothing counts twice."""
    version = 4 if "4" in kind else 6
    with contextlib.ExitStack() as stack:
        lab, running = stack.enter_context(gateway("subscriber"))
        elsewhere = [
            stack.enter_context(wireguard.tunnel(host, lab.stranger, version=version))
            for host in (lab.client, lab.neighbour)
        ]
        if kind.startswith("real"):
            tunnel = wireguard.tunnel(lab.client, lab.neighbour, version=version)
            up = stack.enter_context(tunnel)
            between = rates.both_ways(up.client, up.server)
        else:
            ends = lab.client.at(version), lab.neighbour.at(version)
            hosts = (lab.client, ends[0].address), (lab.neighbour, ends[1].address)
            flow = shake_hands(*hosts, 30_000)
            ports = flow.client_port, flow.server_port
            between = rates.both_ways(*ends, ports=ports)
        running.wait_for_flow("wireguard", "throttle", 3)
        uploads = [
            load.stream(tunnel.client, tunnel.server, rate=3 * rates.RATE)
            for tunnel in elsewhere
        ]
        measured = rates.class_rates_under(lab, [between, *uploads])
    assert measured == [pytest.approx(rates.RATE, rel=rates.TOLERANCE)] * 2


def _is_chosen(lab: Lab, running: Daemon, host: Host, address: str) -> bool:
    """Whether a tunnel of the host at another address is throttled."""
    device = "lan0" if host is lab.client else "lan1"
    host.namespace.ip(f"addr add {address}/24 dev eth0")
    lab.gateway.ip(f"neigh add {address} lladdr {host.mac} dev {device}")
    verdicts = int(running.metric("vpngate_flows_total", verdict="throttle"))
    flows = running.metric("vpngate_throttled_flows")
    shake_hands((host, address), (lab.stranger, lab.stranger.ipv4), 31_000)
    running.wait_for_flow("wireguard", "throttle", verdicts + 1)
    time.sleep(_READ)
    return running.metric("vpngate_throttled_flows") > flows


def _pair(lab: Lab, running: Daemon) -> tuple[Place, Place]:
    """An address that is chosen, and one of the other subscriber that is not."""
    known: dict[tuple[str, bool], Place] = {}
    for number, host in itertools.product(range(_MOST), (lab.client, lab.neighbour)):
        address = f"{host.ipv4.rpartition('.')[0]}.{10 + number}"
        chosen = _is_chosen(lab, running, host, address)
        known[host.namespace.name, chosen] = Place(host.namespace, address)
        for one, other in (("client", "neighbour"), ("neighbour", "client")):
            if {(one, True), (other, False)} <= known.keys():
                return known[one, True], known[other, False]
    raise AssertionError("all or none are chosen")


def test_between_subscribers_each_is_chosen_or_not() -> None:
    """The one that is has its upload slowed; the other's is left alone."""
    with contextlib.ExitStack() as stack:
        lab, running = stack.enter_context(gateway("subscriber", share=50))
        chosen, other = _pair(lab, running)
        hosts = {host.namespace.name: host for host in (lab.client, lab.neighbour)}
        near, far = (
            (hosts[end.namespace.name], end.address) for end in (chosen, other)
        )
        known = int(running.metric("vpngate_flows_total", verdict="throttle"))
        flow = shake_hands(near, far, 32_000)
        running.wait_for_flow("wireguard", "throttle", known + 1)
        ports = flow.client_port, flow.server_port
        talk = stack.enter_context(rates.both_ways(chosen, other, ports=ports))
        measured = rates.class_rates_under(lab, [])
        said = talk.stop()
    assert measured == [pytest.approx(rates.RATE, rel=rates.TOLERANCE)]
    assert rates.share_of_control(said.up, said.down) < _SLOWED
