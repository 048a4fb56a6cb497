# SPDX-License-Identifier: GPL-2.0-or-later
"""What a pair takes off packets and some interfaces need: those are left alone.

Knows that a veth takes the route from a packet, what connection tracking and IPsec have
found of it, and that a bridge has seen it (skb_scrub_packet); which kinds of interfaces
were tried with packets, told what, and what hands its packets on to others as they are.
An ifb takes nothing. Does not know who asks, nor what becomes of an interface.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from vpngate.errors import KernelRefused, Problem
from vpngate.kernel.wire.channel import Channel
from vpngate.kernel.wire.link_details import LinkDetails, details_of, ports_of

_STAY = 'choose gateway.plane = "nftables"'
_LOST = "which is lost in a pair"
# Of the namespace of whoever opens them; not there without br_netfilter.
_SYSCTL = Path("/proc/sys/net/bridge")
# Numbers of linux/if_link.h: IFLA_VXLAN_COLLECT_METADATA and _DF, IFLA_BR_NF_CALL_*.
_EXTERNAL, _DF = 25, 29
_CALLS = {"iptables": 36, "ip6tables": 37}
_IFLA_BRPORT_VLAN_TUNNEL = 29


class Requirement(NamedTuple):
    """Why an interface is left alone, and what to do about it."""

    why: str
    remedy: str = _STAY


def what_it_needs(route: Channel, index: int) -> Requirement | None:
    """What it needs of its packets, or what it stands on does; None if nothing.

    Raises KernelRefused for what cannot be asked, or has gone.
    """
    first = details_of(route, index)
    if first is None:
        raise KernelRefused(Problem("interface", "has just gone"))
    below: list[LinkDetails | None] = [first]
    seen = set[int]()
    while below:
        link = below.pop()
        if link is None or link.index in seen:
            continue
        seen.add(link.index)
        if need := own_need(link):
            if link is first:
                return need
            return need._replace(why=f"stands on {link.name}, which {need.why}")
        if link.kind in _ON_ONE and link.lower:
            below.append(details_of(route, link.lower))
        elif link.kind in _OF_PORTS:
            below += ports_of(route, link.index)
    return None


def own_need(link: LinkDetails) -> Requirement | None:
    """The same of one interface, whatever it stands on.

    Many kinds of tunnels send by a packet's route if they are told so, or tell senders
    by it how long a packet may be: what was not tried is one of them.
    """
    if link.kind in _RULES:
        return _RULES[link.kind](link)
    if link.kind in _AS_THEY_ARE:
        return None
    return Requirement(
        f"is of a kind ({link.kind}) that has not been tried with programs"
    )


def _of_vxlan(link: LinkDetails) -> Requirement | None:
    """As a port it may be that its bridge gives each packet its tunnel, by VLAN."""
    by_vlan = _is_set(link.as_port, _IFLA_BRPORT_VLAN_TUNNEL)
    if _is_set(link.options, _EXTERNAL) and not by_vlan:
        return Requirement(
            f"sends a packet where its route says (vxlan external), {_LOST}"
        )
    if _is_set(link.options, _DF):
        return Requirement(
            f"tells by a packet's route how long it may be (vxlan with df), {_LOST}"
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
