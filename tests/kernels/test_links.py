# SPDX-License-Identifier: GPL-2.0-or-later
"""Subscribers behind a VLAN, a bond and a plain wire are slowed, and nobody else.

    tagged   eth0.7 ── lan7.7 ┐
    bonded   eth0 ──── bond0  ┼ gateway ── wan0   server
    plain    eth0 ──── lan9   ┘

Collected by `make kernels` alone: it needs devices that not every machine's kernel has.
"""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab import forging, handshakes, load, rates, victims, wireguard
from tests.lab.daemon import Daemon, daemon, enforcing_settings
from tests.lab.namespaces import Namespace, settle
from tests.lab.topology import Host, lay_wire, quiet
from vpngate.packets import Transport

_RATE = 512e3  # bit/s: slow enough for a kernel that is emulated
_LITTLE = 50e3  # bit/s: fits into it
_TOLERANCE = 0.1
# Subscribers by name: the gateway's interface that vpngate is to attach.
_INTERFACES = {"tagged": "lan7.7", "bonded": "bond0", "plain": "lan9"}
_NUMBERS = {"tagged": 7, "bonded": 8, "plain": 9}


@dataclass(frozen=True)
class Site:
    """Everything built; `folder` is thrown away with it."""

    folder: Path
    gateway: Namespace
    server: Host
    subscribers: dict[str, Host]


def _macs(number: int) -> tuple[str, str]:
    return f"02:00:00:00:0{number}:01", f"02:00:00:00:0{number}:02"


def _host(name: str, number: int, folder: Path) -> Host:
    mac, port = _macs(number)
    namespace = Namespace(name, folder)
    return Host(namespace, f"100.64.{number}.2", f"2001:db8:{number}::2", mac, port)


def _join(host: Host, device: str, gateway: Namespace, port: str) -> None:
    """Addresses and routes of both ends, which know each other."""
    four, six = (address[:-1] for address in (host.ipv4, host.ipv6))
    for namespace, name, own, other, mac in (
        (host.namespace, device, "2", "1", host.next_hop),
        (gateway, port, "1", "2", host.mac),
    ):
        namespace.ip(
            f"link set {name} up",
            f"addr add {four}{own}/24 dev {name}",
            f"addr add {six}{own}/64 dev {name} nodad",
            f"neigh replace {four}{other} lladdr {mac} dev {name}",
            f"neigh replace {six}{other} lladdr {mac} dev {name}",
        )
    host.namespace.ip(f"route add default via {four}1", f"route add ::/0 via {six}1")


def _attach(name: str, host: Host, gateway: Namespace) -> None:
    """The wire between a subscriber and the gateway, of the kind that it is for."""
    number = _NUMBERS[name]
    port, device = f"lan{number}", "eth0"
    lay_wire(host.namespace, "eth0", gateway, port, (host.mac, host.next_hop))
    if name == "tagged":
        device = "eth0.7"
        gateway.ip(f"link add link {port} name {port}.7 type vlan id 7")
        host.namespace.ip("link add link eth0 name eth0.7 type vlan id 7")
    elif name == "bonded":
        gateway.ip(
            f"link add bond0 address {host.next_hop} type bond mode active-backup "
            "miimon 100",
            f"link set {port} down",
            f"link set {port} master bond0",
        )
    _join(host, device, gateway, _INTERFACES[name])


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="vpngate-"))
        )
        gateway = Namespace("gateway", folder)
        server = _host("server", 1, folder)
        hosts = {name: _host(name, n, folder) for name, n in _NUMBERS.items()}
        namespaces = [gateway, *(host.namespace for host in (server, *hosts.values()))]
        for namespace in namespaces:
            stack.callback(namespace.close)
            quiet(namespace)
        gateway.sysctl("net.ipv4.ip_forward", 1)
        gateway.sysctl("net.ipv6.conf.all.forwarding", 1)
        for name, host in hosts.items():
            _attach(name, host, gateway)
        macs = server.mac, server.next_hop
        lay_wire(server.namespace, "eth0", gateway, "wan0", macs)
        _join(server, "eth0", gateway, "wan0")
        settle(
            *(one for one in namespaces if one is not gateway)
        )  # a bond's port has none
        yield Site(folder, gateway, server, hosts)


@pytest.fixture(scope="module")
def running(site: Site) -> Iterator[Daemon]:
    settings = enforcing_settings(site)
    settings.change(
        gateway={"interfaces": list(_INTERFACES.values())},
        throttle={"rate": "512kbit"},
    )
    with daemon(site.gateway, settings) as started:
        yield started


def test_the_lower_ones_are_left_alone_and_named(site: Site) -> None:
    """A VLAN's parent and a bond's port carry the packets of the upper one.

    The first test: the daemon of the others reads the same group of NFLOG.
    """
    settings = enforcing_settings(site, "lower")
    settings.change(gateway={"interfaces": ["lan*", "bond*"]})
    with daemon(site.gateway, settings) as started:
        alone = started.ask("status")["interfaces_left_alone"]
        assert alone.keys() == {"lan7", "lan8"}


def _leaves(gateway: Namespace) -> set[str]:
    """The kinds of queues in which throttled packets wait."""
    devices = load.shaping_devices(gateway)
    listed = [
        json.loads(gateway.run("tc", "-j", "qdisc", "show", "dev", device))
        for device in devices
    ]
    return {qdisc["kind"] for of_one in listed for qdisc in of_one}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("name", _NUMBERS)
def test_a_tunnel_is_slowed_to_the_rate_both_ways(
    site: Site, running: Daemon, name: str, version: int
) -> None:
    """What fits the rate arrives whole; more than fits leaves at the rate."""
    known = int(victims.verdicts(running)["wireguard"])
    with wireguard.tunnel(
        site.subscribers[name], site.server, version=version
    ) as tunnel:
        running.wait_for_flow("wireguard", "throttle", known + 1)
        before = _diverted(running)
        with load.exchange(
            tunnel.client, tunnel.server, up=_LITTLE, down=_LITTLE
        ) as little:
            running.wait_until(
                lambda: min(_since(running, before)) >= 30, "packets by the detour"
            )
            said = little.stop()
        assert (said.up.lost, said.down.lost) == (0, 0)
        for pull in (False, True):
            [rate] = rates.class_rates(
                site, tunnel.client, tunnel.server, rate=_RATE, pull=pull
            )
            assert rate == pytest.approx(_RATE, rel=_TOLERANCE)
        assert "fq_codel" in _leaves(site.gateway)


def _diverted(running: Daemon) -> tuple[float, float]:
    up, down = (
        running.metric("vpngate_throttled_packets_total", direction=direction)
        for direction in ("upload", "download")
    )
    return up, down


def _since(running: Daemon, before: tuple[float, float]) -> list[float]:
    return [now - then for now, then in zip(_diverted(running), before, strict=True)]


@pytest.mark.parametrize("name", ["tagged", "bonded"])
def test_forged_halves_are_no_evidence(site: Site, running: Daemon, name: str) -> None:
    """Another subscriber says both halves of a handshake in a neighbour's name."""
    victim, forger = site.subscribers[name], site.subscribers["plain"]
    opening = handshakes.wireguard()
    ends = victim.ipv4, site.server.ipv4
    flow = forging.Flow(*ends, 40_000, opening.port, Transport.UDP)
    before = victims.verdicts(running)
    failed = running.metric("vpngate_reverse_path_failed_packets_total")
    with forging.mouth(forger) as mouth:
        forging.tell(mouth, flow, opening.request, back=False)
        forging.tell(mouth, flow, opening.answer, back=True)
    running.wait_until(
        lambda: (
            running.metric("vpngate_reverse_path_failed_packets_total") == failed + 2
        ),
        "two forgeries that are counted",
    )
    assert victims.verdicts(running) == before
