# SPDX-License-Identifier: GPL-2.0-or-later
"""What keeps programs off an interface: its kind, its headers, or what stands there.

Knows of which interfaces a packet comes back from a pair as it went, and where an IP
header begins there; does not know what becomes of the others. Of what has not been
tried with packets it is one.
"""

import fcntl
import socket
import struct
from collections.abc import Collection, Mapping
from contextlib import closing, suppress
from pathlib import Path

from vpngate.errors import KernelRefused
from vpngate.kernel.bpf.in_the_way import chains_before, program_at
from vpngate.kernel.wire.channel import NETFILTER, ROUTE, Channel
from vpngate.kernel.wire.links import Link, links_at

ETHERNET, NO_HEADER = 14, 0  # bytes before the IP header
# ARPHRD_* of linux/if_arp.h: those that have Ethernet's header, and those with none.
# Tunnels' devices are in neither: where a packet's headers begin there depends on how
# it came.
_WITH_HEADER = {1, 772}
_WITHOUT = {512, 519, 65534}  # PPP, raw IP, tun
# What drives an interface, in words of rtnetlink. A pair forgets the route that a
# packet was given: others (vxlan, geneve and more, with `external`) send by it.
_KINDS = {"", "veth", "vlan", "bond", "team", "bridge", "tun", "ppp", "macvlan"}
_BRIDGE, _STACKED = "bridge", {"vlan", "macvlan"}
# Of the namespace of whoever reads them; not there where br_netfilter is not loaded.
_FILTERING = (
    "/proc/sys/net/bridge/bridge-nf-call-iptables",
    "/proc/sys/net/bridge/bridge-nf-call-ip6tables",
)
_SIOCGIFHWADDR = 0x8927


def objections(
    devices: Mapping[str, int],
    few: Collection[str],
    *,
    table: str,
    ours: Collection[int],
) -> dict[str, str]:
    """Those of the devices (indexes by name) that cannot be had, and why.

    Chains are asked for all together, the rest of the few alone. `ours` are the numbers
    of programs that we have put there. In any thread, by channels of its own.
    """
    with closing(Channel(NETFILTER)) as nftables, closing(Channel(ROUTE)) as route:
        found = chains_before(nftables, devices, table=table)
        links = links_at(route, [devices[name] for name in few])
        for name, link in zip(few, links, strict=True):
            try:
                why = _of_kind(link, route) or program_at(
                    route, devices[name], ours, table
                )
            except KernelRefused as error:  # it may have just gone
                why = error.lines[0]
            if why:
                found.setdefault(name, why)
    return found


def _of_kind(link: Link | None, route: Channel) -> str:
    if link is None:
        return "it has just gone"
    if link.kind not in _KINDS:
        return f"is of a kind ({link.kind}) that has not been tried with programs"
    if _BRIDGE in (link.kind, *_below(link, route)) and _is_filtered():
        return "is a bridge whose packets iptables sees (br_netfilter)"
    return ""


def _below(link: Link, route: Channel) -> list[str]:
    """The kind of what an interface stands on; of a veth that is its other end."""
    if not link.parent or link.kind not in _STACKED:
        return []
    return [one.kind for one in links_at(route, [link.parent]) if one is not None]


def _is_filtered() -> bool:
    for path in map(Path, _FILTERING):
        with suppress(FileNotFoundError):
            if path.read_text(encoding="ascii").strip() != "0":
                return True
    return False


def header_of(name: str) -> int | None:
    """Bytes before the IP header of an interface's packets; None: not known.

    Asked of the namespace that this is called in, whatever /sys shows.
    """
    request = struct.pack("16s24x", name.encode())
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            answer = fcntl.ioctl(asking, _SIOCGIFHWADDR, request)
    except OSError:  # it has just gone
        return ETHERNET
    (kind,) = struct.unpack_from("=H", answer, 16)
    if kind in _WITH_HEADER:
        return ETHERNET
    return NO_HEADER if kind in _WITHOUT else None
