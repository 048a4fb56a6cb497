# SPDX-License-Identifier: GPL-2.0-or-later
"""The hosts and the wires of the lab.

Knows addresses, routes and the gateway's NAT; does not know tunnels or vpngate.

    client     100.64.1.2        lan0 ┐           ┌ wan0   203.0.113.10        member
               2001:db8:64:1::2       │           │        2001:db8:a::10
                                      ├─ gateway ─┤
    neighbour  100.64.2.2        lan1 │           │ wan1   198.51.100.10       stranger
               2001:db8:64:2::2       ┘           └        2001:db8:b::10

client and neighbour are subscribers. config/registry.csv registers the member's
prefixes and not the stranger's. The gateway either routes or masquerades (both
families) what leaves by the wan interfaces.

Every veth has segmentation, receive and checksum offloads switched off. With them
on, a veth hands on TCP and tunnel packets as 64 KiB aggregates without checksums: no
wire carries such packets, a shaper at 5 Mbit/s would see one of them as 100 ms of
traffic, and a capture of them would not look like a capture from a gateway.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from tests.lab.namespaces import Namespace, settle

REGISTERED = ("203.0.113.0/24", "2001:db8:a::/48")
UNREGISTERED = ("198.51.100.0/24", "2001:db8:b::/48")
SUBSCRIBER_INTERFACES = ("lan0", "lan1")
UPLINK_INTERFACES = ("wan0", "wan1")

_MASQUERADE = """
table inet lab_nat {
    chain postrouting {
        type nat hook postrouting priority srcnat
        oifname "wan*" masquerade
    }
}
"""

_REVERSE_PATH = """
table ip6 operator {
    chain prerouting {
        type filter hook prerouting priority raw
        fib saddr . iif oif missing drop
    }
}
"""


class Place(NamedTuple):
    """Where traffic starts or ends: a namespace and one of its addresses."""

    namespace: Namespace
    address: str


@dataclass(frozen=True)
class Host:
    """A host with one uplink named eth0.

    `mac` is its own, `next_hop` that of the gateway it sends to.
    """

    namespace: Namespace
    ipv4: str
    ipv6: str
    mac: str
    next_hop: str

    def at(self, version: int = 4) -> Place:
        """The host by its address of IP version 4 or 6."""
        return Place(self.namespace, self.ipv4 if version == 4 else self.ipv6)


class Site(Protocol):
    """What every lab has: a gateway, and a folder that is thrown away with it."""

    @property
    def folder(self) -> Path: ...
    @property
    def gateway(self) -> Namespace: ...


@dataclass(frozen=True)
class Lab:
    """Everything built; `folder` is thrown away with it."""

    folder: Path
    masquerades: bool
    gateway: Namespace
    client: Host
    neighbour: Host
    member: Host
    stranger: Host


class Wire(NamedTuple):
    number: int
    host: str
    port: str  # the gateway's interface
    ipv4: str  # the network, the gateway is its .1
    ipv6: str
    last: str  # the host's place in both networks

    @property
    def mac(self) -> str:
        return f"02:00:00:00:00:{self.number:02x}"

    @property
    def port_mac(self) -> str:
        return f"02:00:00:00:01:{self.number:02x}"


WIRES = (
    Wire(1, "client", "lan0", "100.64.1", "2001:db8:64:1:", "2"),
    Wire(2, "neighbour", "lan1", "100.64.2", "2001:db8:64:2:", "2"),
    Wire(3, "member", "wan0", "203.0.113", "2001:db8:a:", "10"),
    Wire(4, "stranger", "wan1", "198.51.100", "2001:db8:b:", "10"),
)


def quiet(namespace: Namespace) -> None:
    """No duplicate address detection, no reverse path filter, loopback up."""
    for conf in ("all", "default"):
        namespace.sysctl(f"net.ipv6.conf.{conf}.accept_dad", 0)
        namespace.sysctl(f"net.ipv4.conf.{conf}.rp_filter", 0)
    namespace.ip("link set lo up")


def filter_sources(gateway: Namespace) -> None:
    """Have the gateway drop what comes in from where its source does not live.

    IPv4 by the kernel's own filter, IPv6, which has none, by a rule of nftables.
    """
    for device in (*SUBSCRIBER_INTERFACES, *UPLINK_INTERFACES):
        gateway.sysctl(f"net.ipv4.conf.{device}.rp_filter", 1)
    gateway.run("nft", "-f", "-", stdin=_REVERSE_PATH)


def lay_wire(
    near: Namespace, device: str, far: Namespace, port: str, macs: tuple[str, str]
) -> None:
    """One veth pair, up, with no offloads: `device` of `near` and `port` of `far`."""
    near.ip(
        f"link add {device} address {macs[0]} type veth "
        f"peer name {port} address {macs[1]} netns {far.path}"
    )
    for namespace, end in ((near, device), (far, port)):
        namespace.run(
            *("ethtool", "-K", end),
            *("tso", "off", "gso", "off", "gro", "off", "tx", "off"),
        )
        namespace.ip(f"link set {end} txqueuelen 10000 up")


def lay(wire: Wire, host: Namespace, gateway: Namespace) -> None:
    """A wire with its addresses, and neighbours that need no discovery.

    (Discovery on a fresh link loses its first question, and a second with it.)
    """
    near_mac, far_mac = wire.mac, wire.port_mac
    lay_wire(host, "eth0", gateway, wire.port, (near_mac, far_mac))
    near, far = (wire.last, near_mac), ("1", far_mac)
    for namespace, device, own, other in (
        (host, "eth0", near, far),
        (gateway, wire.port, far, near),
    ):
        namespace.ip(
            f"addr add {wire.ipv4}.{own[0]}/24 dev {device}",
            f"addr add {wire.ipv6}:{own[0]}/64 dev {device} nodad",
            f"neigh add {wire.ipv4}.{other[0]} lladdr {other[1]} dev {device}",
            f"neigh add {wire.ipv6}:{other[0]} lladdr {other[1]} dev {device}",
        )
    host.ip(
        f"route add default via {wire.ipv4}.1",
        f"route add ::/0 via {wire.ipv6}:1",
    )


@contextlib.contextmanager
def build(*, masquerade: bool = False) -> Iterator[Lab]:
    """A lab for the length of a with block; nothing of it is left behind."""
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="vpngate-"))
        )
        made: dict[str, Namespace] = {}
        for name in ("gateway", *(wire.host for wire in WIRES)):
            made[name] = Namespace(name, folder)
            stack.callback(made[name].close)
            quiet(made[name])
        gateway = made["gateway"]
        gateway.sysctl("net.ipv4.ip_forward", 1)
        gateway.sysctl("net.ipv6.conf.all.forwarding", 1)
        hosts: dict[str, Host] = {}
        for wire in WIRES:
            lay(wire, made[wire.host], gateway)
            hosts[wire.host] = Host(
                made[wire.host],
                f"{wire.ipv4}.{wire.last}",
                f"{wire.ipv6}:{wire.last}",
                wire.mac,
                wire.port_mac,
            )
        settle(*made.values())
        if masquerade:
            gateway.run("nft", "-f", "-", stdin=_MASQUERADE)
        yield Lab(
            folder=folder,
            masquerades=masquerade,
            gateway=gateway,
            client=hosts["client"],
            neighbour=hosts["neighbour"],
            member=hosts["member"],
            stranger=hosts["stranger"],
        )
