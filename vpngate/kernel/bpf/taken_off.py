# SPDX-License-Identifier: GPL-2.0-or-later
"""What a pair takes off packets and some interfaces need: those are left alone.

Knows that a veth takes the route from a packet, what connection tracking and IPsec have
found of it, who sent it, and that a bridge or a switch has seen it (skb_scrub_packet);
which kinds of interfaces were tried with packets, told what, and what hands its packets
on to others as they are. An ifb takes nothing. Does not know who asks, nor what becomes
of an interface.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from vpngate.errors import KernelRefused, Problem
from vpngate.kernel.bpf.needs.bridge_chains import chain_around_bridges
from vpngate.kernel.bpf.needs.kernel_release import is_before
from vpngate.kernel.bpf.needs.root_filters import (
    WITHOUT_FILTERS,
    choosing_by_what_is_lost,
)
from vpngate.kernel.wire.channel import Channel
from vpngate.kernel.wire.link_details import LinkDetails, details_of, ports_of

_STAY = 'choose gateway.plane = "nftables"'
_LOST = "which is lost in a pair"
# Of the namespace of whoever opens them; not there without br_netfilter.
_SYSCTL = Path("/proc/sys/net/bridge")
# Numbers of linux/if_link.h: IFLA_VXLAN_GROUP6, _LOCAL6, _COLLECT_METADATA and _DF,
# IFLA_BR_NF_CALL_*.
_GROUP6, _LOCAL6, _EXTERNAL, _DF = 16, 17, 25, 29
_CALLS = {"iptables": 36, "ip6tables": 37}
_IFLA_BRPORT_VLAN_TUNNEL = 29
_PPP = 512  # ARPHRD_PPP
# Since these the kernel takes Ethernet's header off what a program sends to PPP, and
# shows what a program has sent back to no generic XDP program again.
_KNOWS_PPP, _KNOWS_REDIRECTED = (6, 6), (6, 4)


class Requirement(NamedTuple):
    """Why an interface is left alone, and what to do about it."""

    why: str
    remedy: str = _STAY


def what_it_needs(route: Channel, nftables: Channel, index: int) -> Requirement | None:
    """What it needs of its packets, or what it stands on does; None if nothing.

    Raises KernelRefused for what cannot be asked, or has gone.
    """
    first = details_of(route, index)
    if first is None:
        raise KernelRefused(Problem("interface", "has just gone"))
    if need := _of_what_comes_in_first(first):
        return need
    below: list[LinkDetails | None] = [first]
    seen = set[int]()
    while below:
        link = below.pop()
        if link is None or link.index in seen:
            continue
        seen.add(link.index)
        if need := own_need(link) or _around(route, nftables, link):
            if link is first:
                return need
            return need._replace(why=f"stands on {link.name}, which {need.why}")
        if link.kind in _ON_ONE and link.lower:
            below.append(details_of(route, link.lower))
        elif link.kind in _OF_PORTS:
            below += ports_of(route, link.index)
    return None


def own_need(link: LinkDetails) -> Requirement | None:
    """The same of one interface, whatever it stands on, and whatever stands there.

    Many kinds of tunnels send by a packet's route if they are told so, or tell senders
    by it how long a packet may be: what was not tried is one of them.
    """
    if link.switched:
        noted = "has noted that hardware forwarded a packet already"
        return Requirement(f"is a port of a switch and {noted}, {_LOST}")
    if link.hardware == _PPP and is_before(_KNOWS_PPP):
        sent = "sends what was slowed with Ethernet's header, so that nobody takes it"
        return Requirement(f"{sent} (PPP before Linux 6.6)")
    if link.kind in _RULES:
        return _RULES[link.kind](link)
    if link.kind in _AS_THEY_ARE:
        return None
    return Requirement(
        f"is of a kind ({link.kind}) that has not been tried with programs"
    )


def _of_what_comes_in_first(link: LinkDetails) -> Requirement | None:
    if link.generic_xdp and is_before(_KNOWS_REDIRECTED):
        return Requirement(
            "has a generic XDP program, which would meet what was slowed a second time"
            " (before Linux 6.4)",
            f"have the driver run it (xdpdrv), or {_STAY}",
        )
    return None


def _around(route: Channel, nftables: Channel, link: LinkDetails) -> Requirement | None:
    """What others have put to an interface that packets meet behind a pair."""
    if link.queue not in WITHOUT_FILTERS and (
        kind := choosing_by_what_is_lost(route, link.index)
    ):
        return Requirement(
            f"has a filter at its root ({kind}) that may choose by a packet's route,"
            f" connection or sender, {_LOST}",
            f"choose by mark or by addresses, or {_STAY}",
        )
    if link.kind == "bridge" and (chain := chain_around_bridges(nftables)):
        return Requirement(
            f"is a bridge, and the chain bridge {chain} may ask for a packet's"
            f" connection, {_LOST}",
            f"move what it does into a table of family inet, or {_STAY}",
        )
    return None


def _of_vxlan(link: LinkDetails) -> Requirement | None:
    """As a port it may be that its bridge gives each packet its tunnel, by VLAN.

    Over IPv6 nobody on the way cuts a packet in pieces, as with df.
    """
    by_vlan = _is_set(link.as_port, _IFLA_BRPORT_VLAN_TUNNEL)
    if _is_set(link.options, _EXTERNAL) and not by_vlan:
        return Requirement(
            f"sends a packet where its route says (vxlan external), {_LOST}"
        )
    over_ipv6 = any(_is_set(link.options, number) for number in (_GROUP6, _LOCAL6))
    if over_ipv6 or _is_set(link.options, _DF):
        how = "over IPv6" if over_ipv6 else "with df"
        return Requirement(
            f"tells by a packet's route how long it may be (vxlan {how}), {_LOST}"
        )
    return None


def _of_bridges(link: LinkDetails) -> Requirement | None:
    """Whether netfilter sees frames as they come to a port, and rewrites them there."""
    for name, own in _CALLS.items():
        path = _SYSCTL / f"bridge-nf-call-{name}"
        try:
            general = path.read_text("ascii").strip() != "0"
        except FileNotFoundError:
            continue
        except OSError as error:  # as while no descriptor is left
            raise KernelRefused(Problem(str(path), str(error.strerror))) from error
        if general or _is_set(link.options, own):
            where = f"net.bridge.{path.name}" if general else f"nf_call_{name}"
            return Requirement(
                f"is a bridge whose packets netfilter has seen already ({where}),"
                f" {_LOST}",
                f"set {where} to 0, if nobody needs it, or {_STAY}",
            )
    return None


def _is_set(options: Mapping[int, bytes], number: int) -> bool:
    return any(options.get(number, b""))


_RULES: dict[str, Callable[[LinkDetails], Requirement | None]] = {
    "bridge": _of_bridges,
    "vxlan": _of_vxlan,
}
_ON_ONE = {"vlan", "macvlan"}
_OF_PORTS = {"bridge", "bond", "team"}
_AS_THEY_ARE = {"", "veth", "tun", "ppp", "dummy", "bond", "team", *_ON_ONE}
