# SPDX-License-Identifier: GPL-2.0-or-later
"""A gateway that is a transparent bridge, and who sits at its ports.

    client     ┐
    insider    ┴ switch ── lan0 ┐
    neighbour ──────────── lan1 ┼ br0 of the gateway ── wan0 ── stranger

Knows wires and addresses; does not know tunnels or vpngate. All hosts are in one
network, 198.51.100.0/24 and 2001:db8:b::/64, and know each other without discovery.
client and insider are behind one port, so what they say to each other the gateway
does not see.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lab.namespaces import Namespace
from tests.lab.topology import Host, lay_wire, quiet

_HOSTS = ("client", "insider", "neighbour", "stranger")


@dataclass(frozen=True)
class Bridge:
    """Everything built; `folder` is thrown away with it."""

    folder: Path
    gateway: Namespace
    client: Host
    insider: Host
    neighbour: Host
    stranger: Host


def _host(name: str, number: int, folder: Path, far: str) -> Host:
    return Host(
        Namespace(name, folder),
        f"198.51.100.{number}",
        f"2001:db8:b::{number}",
        f"02:00:00:00:02:{number:02x}",
        far,
    )


def _bridge(namespace: Namespace) -> None:
    """A bridge that learns at once, without a spanning tree or a query of groups."""
    namespace.ip(
        "link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0",
        "link set br0 up",
    )


def _introduce(hosts: list[Host]) -> None:
    for host in hosts:
        host.namespace.ip(
            f"addr add {host.ipv4}/24 dev eth0",
            f"addr add {host.ipv6}/64 dev eth0 nodad",
            *(
                f"neigh add {address} lladdr {other.mac} dev eth0"
                for other in hosts
                if other is not host
                for address in (other.ipv4, other.ipv6)
            ),
        )


@contextlib.contextmanager
def build() -> Iterator[Bridge]:
    """A bridge and its hosts for the length of a with block."""
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="vpngate-"))
        )
        far = f"02:00:00:00:02:{len(_HOSTS):02x}"
        hosts = {n: _host(n, i, folder, far) for i, n in enumerate(_HOSTS, 1)}
        gateway, switch = Namespace("gateway", folder), Namespace("switch", folder)
        namespaces = [gateway, switch, *(host.namespace for host in hosts.values())]
        for namespace in namespaces:
            stack.callback(namespace.close)
            quiet(namespace)
        for namespace in (gateway, switch):
            _bridge(namespace)
        ports = {
            "client": (switch, "port0"),
            "insider": (switch, "port1"),
            "neighbour": (gateway, "lan1"),
            "stranger": (gateway, "wan0"),
        }
        for number, (name, (at, port)) in enumerate(ports.items(), 1):
            macs = hosts[name].mac, f"02:00:00:00:03:{number:02x}"
            lay_wire(hosts[name].namespace, "eth0", at, port, macs)
            at.ip(f"link set {port} master br0")
        lay_wire(
            *(switch, "uplink", gateway, "lan0"),
            ("02:00:00:00:03:10", "02:00:00:00:03:11"),
        )
        switch.ip("link set uplink master br0")
        gateway.ip("link set lan0 master br0")
        _introduce(list(hosts.values()))
        yield Bridge(folder, gateway, **hosts)
