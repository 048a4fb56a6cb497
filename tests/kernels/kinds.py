# SPDX-License-Identifier: GPL-2.0-or-later
"""The kinds of links that a subscriber may be behind, and a site with such links.

Knows how a link of each kind is laid between a host and the gateway, and all that
stands around it; does not know what vpngate makes of it. N is the host's number.

    vrf    eth0 ──── lanN, in a VRF of the gateway with all its other interfaces
    ppp    ppp0 ──── pppN, which two pppd make of a pty: no Ethernet
    bond   eth0 ──── bondN, whose port lanN is
    vlan   eth0.7 ── lanN.7, on lanN
    wire   eth0 ──── lanN

To add a kind: a function that lays it, and its line in `KINDS`.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.lab.namespaces import Namespace, settle
from tests.lab.topology import Host, lay_wire, quiet

_VRF, _VRF_TABLE = "vrf0", 10
# What a line of its own would be asked for (a modem, a password, to be locked), and a
# compression that would have to be computed.
_PPPD = (
    *("pppd", "nodetach", "noauth", "nolock", "nocrtscts", "local", "nodefaultroute"),
    *("noccp", "novj", "+ipv6", "lcp-echo-failure", "0"),
)
# Its machine-wide options and its scripts are for lines of the machine's own.
_NO_OPTIONS = "mount -t tmpfs tmpfs /etc/ppp"


@dataclass(frozen=True)
class Link:
    """A link to be laid between a host and the gateway."""

    number: int
    host: Host
    gateway: Namespace
    stack: contextlib.ExitStack  # what ends with the link

    @property
    def port(self) -> str:
        """The gateway's end of its wire."""
        return f"lan{self.number}"

    def network(self, version: int) -> str:
        """What the addresses of both ends begin with: the gateway's ends in 1."""
        return self.host.at(version).address[:-1]


def _wire(link: Link) -> None:
    macs = link.host.mac, link.host.next_hop
    lay_wire(link.host.namespace, "eth0", link.gateway, link.port, macs)


def _join(link: Link, device: str, port: str) -> str:
    """Addresses and routes of both ends, which know each other. Returns `port`."""
    host, four, six = link.host, link.network(4), link.network(6)
    for namespace, name, own, other, mac in (
        (host.namespace, device, "2", "1", host.next_hop),
        (link.gateway, port, "1", "2", host.mac),
    ):
        namespace.ip(
            f"link set {name} up",
            f"addr add {four}{own}/24 dev {name}",
            f"addr add {six}{own}/64 dev {name} nodad",
            f"neigh replace {four}{other} lladdr {mac} dev {name}",
            f"neigh replace {six}{other} lladdr {mac} dev {name}",
        )
    host.namespace.ip(f"route add default via {four}1", f"route add ::/0 via {six}1")
    return port


def lay_plain(link: Link) -> str:
    _wire(link)
    return _join(link, "eth0", link.port)


def lay_vlan(link: Link) -> str:
    _wire(link)
    tagged = f"{link.port}.7"
    link.gateway.ip(f"link add link {link.port} name {tagged} type vlan id 7")
    link.host.namespace.ip("link add link eth0 name eth0.7 type vlan id 7")
    return _join(link, "eth0.7", tagged)


def lay_bond(link: Link) -> str:
    _wire(link)
    bond = f"bond{link.number}"
    link.gateway.ip(
        f"link add {bond} address {link.host.next_hop} type bond mode active-backup "
        "miimon 100",
        f"link set {link.port} down",
        f"link set {link.port} master {bond}",
    )
    return _join(link, "eth0", bond)


def lay_in_vrf(link: Link) -> str:
    _wire(link)
    link.gateway.ip(f"link set {link.port} master {_VRF}")  # loses IPv6 addresses
    return _join(link, "eth0", link.port)


def lay_ppp(link: Link) -> str:
    """The gateway's pppd on one side of a pty, the host's on the other."""
    port = f"ppp{link.number}"
    four, six = link.network(4), link.network(6)
    far = f"nsenter --net={link.host.namespace.path} {' '.join(_PPPD)} notty"
    ends = ("unit", str(link.number), f"{four}1:{four}2")
    log = link.stack.enter_context(
        link.gateway.running(*_PPPD, *ends, "pty", far, mounts=_NO_OPTIONS)
    )
    log.expect("remote IP address")
    log.expect("remote LL address")
    link.gateway.ip(f"addr add {six}1/64 dev {port} nodad")
    link.host.namespace.ip(
        f"addr add {six}2/64 dev ppp0 nodad",
        f"route add default via {four}1 dev ppp0 onlink",
        "route add ::/0 dev ppp0",
    )
    return port


Laying = Callable[[Link], str]  # returns the interface to attach


@dataclass(frozen=True)
class Kind:
    """A kind of link, how the site's other links are laid beside, and in which VRF.

    `left_alone` is the gateway's interface, with {} for the number, that has no packets
    of its own.
    """

    lay: Laying
    lay_others: Laying = lay_plain
    left_alone: str = ""
    vrf: str = ""


KINDS: Mapping[str, Kind] = {
    "vrf": Kind(lay_in_vrf, lay_in_vrf, left_alone=_VRF, vrf=_VRF),
    "ppp": Kind(lay_ppp),
    "bond": Kind(lay_bond, left_alone="lan{}"),
    "vlan": Kind(lay_vlan, left_alone="lan{}"),
    "wire": Kind(lay_plain),
}


@dataclass(frozen=True)
class Site:
    """Everything built; `folder` is thrown away with it.

    subscriber, twin    behind a link of the kind each
    neighbour           behind a wire
    stranger, member    behind the uplinks; the member's address is registered
    """

    folder: Path
    gateway: Namespace
    subscriber: Host
    twin: Host
    neighbour: Host
    stranger: Host
    member: Host
    interfaces: tuple[str, ...]  # of subscriber and twin
    left_alone: frozenset[str]  # of all the gateway has


# Networks by the host's number; the member's are those of config/registry.csv.
_NETWORKS = {
    "subscriber": (2, "100.64.2.", "2001:db8:64:2::"),
    "twin": (3, "100.64.3.", "2001:db8:64:3::"),
    "neighbour": (4, "100.64.4.", "2001:db8:64:4::"),
    "stranger": (5, "198.51.100.", "2001:db8:b::"),
    "member": (6, "203.0.113.", "2001:db8:a::"),
}
_OF_THE_KIND = ("subscriber", "twin")


def _host(name: str, folder: Path) -> Host:
    number, four, six = _NETWORKS[name]
    macs = (f"02:00:00:00:0{number}:0{end}" for end in (1, 2))
    return Host(Namespace(name, folder), f"{four}2", f"{six}2", *macs)


def _gateway(folder: Path, kind: Kind) -> Namespace:
    gateway = Namespace("gateway", folder)
    quiet(gateway)
    gateway.sysctl("net.ipv4.ip_forward", 1)
    gateway.sysctl("net.ipv6.conf.all.forwarding", 1)
    if kind.vrf:
        gateway.ip(
            f"link add {kind.vrf} type vrf table {_VRF_TABLE}",
            f"link set {kind.vrf} up",
            # A lookup ends in the VRF, as its documentation has it.
            f"route add table {_VRF_TABLE} unreachable default metric 4278198272",
            f"route add table {_VRF_TABLE} unreachable ::/0 metric 4278198272",
        )
    return gateway


@contextlib.contextmanager
def build(kind: Kind) -> Iterator[Site]:
    """A site whose subscribers are behind links of this kind."""
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="vpngate-"))
        )
        gateway = _gateway(folder, kind)
        stack.callback(gateway.close)
        hosts, ports = {}, {}
        for name, (number, *_) in _NETWORKS.items():
            host = hosts[name] = _host(name, folder)
            stack.callback(host.namespace.close)
            quiet(host.namespace)
            lay = kind.lay if name in _OF_THE_KIND else kind.lay_others
            ports[name] = lay(Link(number, host, gateway, stack))
        settle(*(host.namespace for host in hosts.values()))
        numbers = [_NETWORKS[name][0] for name in _OF_THE_KIND]
        alone = {kind.left_alone.format(n) for n in numbers} - {""}
        yield Site(
            folder,
            gateway,
            **hosts,
            interfaces=tuple(ports[name] for name in _OF_THE_KIND),
            left_alone=frozenset(alone),
        )
