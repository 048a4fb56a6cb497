# SPDX-License-Identifier: GPL-2.0-or-later
"""Real tunnels are throttled on either side of a gateway, and between two subscribers.

The operator filters by reverse path himself: IPv4 by the kernel's own filter, IPv6,
which has none, by a rule of nftables.
"""

import contextlib
import itertools
import time
from collections.abc import Iterator

import pytest

from tests.lab import forging, handshakes, load, rates, topology, wireguard
from tests.lab.daemon import VPNGATE, Daemon, daemon, enforcing_settings
from tests.lab.forging import Flow
from tests.lab.namespaces import PATIENCE
from tests.lab.topology import Host, Lab, Place
from vpngate.packets import Transport

VERSIONS = (4, 6)
_MOST = 10  # addresses of a subscriber: all alike once in a thousand times
_READ = 0.7  # seconds: the daemon's reading of its counters is no older
_SLOWED = 0.6  # a third of what is offered arrives, and what the queue holds


@contextlib.contextmanager
def gateway(
    side: str, *, masquerade: bool = False, share: int = 100
) -> Iterator[tuple[Lab, Daemon]]:
    """A lab whose operator filters, and a daemon that enforces on one side of it."""
    with topology.build(masquerade=masquerade) as lab:
        topology.filter_sources(lab.gateway)
        settings = enforcing_settings(lab)
        settings.change(gateway={"side": side, "enforce_share": share})
        if side == "uplink":
            settings.change(gateway={"interfaces": ["wan*"], "nat": False})
        with daemon(lab.gateway, settings) as running:
            yield lab, running


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


@pytest.mark.parametrize("version", VERSIONS)
def test_on_the_uplink_nobody_there_sends_both_halves(version: int) -> None:
    """What is said in a subscriber's name to somebody outside would go back out.

    A real handshake behind the forged one is the only tunnel.
    """
    with gateway("uplink") as (lab, running):
        client, stranger = (
            host.at(version).address for host in (lab.client, lab.stranger)
        )
        absent = f"{stranger}77" if version == 6 else f"{stranger[:-2]}77"
        lab.gateway.ip(f"neigh add {absent} lladdr {lab.member.mac} dev wan1")
        opening = handshakes.wireguard()
        flow = Flow(client, absent, 30_000, opening.port, Transport.UDP)
        with forging.mouth(lab.stranger) as mouth:
            forging.tell(mouth, flow, opening.request, back=False)
            forging.tell(mouth, flow, opening.answer, back=True)
        _shake_hands((lab.client, client), (lab.stranger, stranger), 30_001)
        running.wait_for_flow("wireguard", "throttle")
        assert running.metric("vpngate_flows_total", verdict="throttle") == 1


def _shake_hands(near: tuple[Host, str], far: tuple[Host, str], port: int) -> Flow:
    """WireGuard's handshake, written by hand, between two hosts at these addresses."""
    opening = handshakes.wireguard()
    flow = Flow(near[1], far[1], port, opening.port, Transport.UDP)
    with forging.mouth(near[0]) as asking, forging.mouth(far[0]) as answering:
        forging.tell(asking, flow, opening.request, back=False)
        forging.tell(answering, flow, opening.answer, back=True)
    return flow


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
            flow = _shake_hands(*hosts, 30_000)
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
    _shake_hands((host, address), (lab.stranger, lab.stranger.ipv4), 31_000)
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
        flow = _shake_hands(near, far, 32_000)
        running.wait_for_flow("wireguard", "throttle", known + 1)
        ports = flow.client_port, flow.server_port
        talk = stack.enter_context(rates.both_ways(chosen, other, ports=ports))
        measured = rates.class_rates_under(lab, [])
        said = talk.stop()
    assert measured == [pytest.approx(rates.RATE, rel=rates.TOLERANCE)]
    assert rates.share_of_control(said.up, said.down) < _SLOWED


def test_without_filters_elsewhere_nobody_is_slowed_on_the_uplink() -> None:
    """Nor is a daemon started; one that runs observes until they are back."""
    with topology.build() as lab:
        settings = enforcing_settings(lab)
        settings.change(
            gateway={"side": "uplink", "interfaces": ["wan*"], "nat": False}
        )
        words = (VPNGATE, "run", "--config", str(settings.config))
        refused = lab.gateway.start(*words, "--socket", str(settings.socket))
        assert refused.wait(PATIENCE) == 1
        assert "interface lan0: takes packets" in refused.output()
        assert "IPv6: is forwarded" in refused.output()
        topology.filter_sources(lab.gateway)
        with daemon(lab.gateway, settings) as running:
            running.wait_until(lambda: running.ask("status")["healthy"], "health")
            lab.gateway.sysctl("net.ipv4.conf.lan1.rp_filter", 2)
            running.wait_until(
                lambda: "lan1" in str(running.ask("status")["reasons"]), "doubt"
            )
            running.wait_until(
                lambda: not running.ask("status")["kernel"]["armed"], "disarming"
            )
            assert running.metric("vpngate_deadman_armed") == 0
            lab.gateway.sysctl("net.ipv4.conf.lan1.rp_filter", 1)
            running.wait_until(lambda: running.ask("status")["healthy"], "health")
            assert running.ask("status")["kernel"]["armed"]
