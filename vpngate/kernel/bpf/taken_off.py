# SPDX-License-Identifier: GPL-2.0-or-later
"""What a pair takes off packets and some interfaces need: those are left alone.

Knows that a veth takes the route from a packet, what connection tracking and IPsec have
found of it, and that a bridge has seen it (skb_scrub_packet), and which kinds of
interfaces, told what, need that, or stand on one that does. An ifb takes nothing. Does
not know who asks, nor what becomes of an interface.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from vpngate.kernel.wire.channel import Channel
from vpngate.kernel.wire.link_details import LinkDetails, details_of, ports_of

_STAY = 'choose gateway.plane = "nftables"'
_LOST = "which is lost in a pair"
# Of the namespace of whoever opens them; not there without br_netfilter.
_SYSCTL = Path("/proc/sys/net/bridge")
_OPTIONS = Mapping[int, bytes]


class Requirement(NamedTuple):
    """Why an interface is left alone, and what to do about it."""

    why: str
    remedy: str = _STAY


def what_it_needs(route: Channel, index: int) -> Requirement | None:
    """What it needs of its packets, or what it stands on does; None if nothing.

    Raises KernelRefused for what cannot be asked.
    """
    first = details_of(route, index)
    below, seen = [first], set[int]()
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
    """The same of one interface, whatever it stands on."""
    rule = _RULES.get(link.kind)
    if rule is None or _is_told_by_port(link):
        return None
    return rule(link.kind, link.options)


def _is_told_by_port(link: LinkDetails) -> bool:
    """Whether its bridge gives each packet its tunnel, by VLAN."""
    return _is_set(link.as_port, _IFLA_BRPORT_VLAN_TUNNEL)


def _by_route(told: str) -> Requirement:
    return Requirement(f"sends a packet where its route says ({told}), {_LOST}")


def _by_length(told: str) -> Requirement:
    return Requirement(f"tells by its route how long a packet may be ({told}), {_LOST}")


def _by_ipsec(told: str) -> Requirement:
    return Requirement(f"has packets that IPsec has let in ({told}), {_LOST}")


def _fragile(external: int, df: int) -> Callable[[str, _OPTIONS], Requirement | None]:
    """Tunnels over UDP, whose outer packets may be fragmented unless `df` is told."""

    def need(kind: str, options: _OPTIONS) -> Requirement | None:
        if _is_flagged(options, external):
            return _by_route(f"{kind} external")
        return _by_length(f"{kind} with df") if _is_set(options, df) else None

    return need


def _over_ip(
    external: int, remote: int, discovers: int
) -> Callable[[str, _OPTIONS], Requirement | None]:
    """Those right over IPv4; `discovers` is whether they look for a path's MTU."""

    def need(kind: str, options: _OPTIONS) -> Requirement | None:
        if _is_flagged(options, external):
            return _by_route(f"{kind} external")
        if not _is_set(options, remote):
            return _by_route(f"{kind} without a remote end")
        if _is_set(options, discovers):
            return _by_length(f"{kind} with pmtudisc")
        return None

    return need


def _over_ipv6(
    external: int, remote: int
) -> Callable[[str, _OPTIONS], Requirement | None]:
    """Those right over IPv6: no router fragments that."""

    def need(kind: str, options: _OPTIONS) -> Requirement | None:
        found = _over_ip(external, remote, 0)(kind, options)
        return found or _by_length(f"{kind}, over IPv6")

    return need


def _always(
    of: Callable[[str], Requirement],
) -> Callable[[str, _OPTIONS], Requirement | None]:
    return lambda kind, _options: of(kind)


def _of_peers(kind: str, options: _OPTIONS) -> Requirement | None:
    """Which peer a packet is for is the gateway of its route, if there are several."""
    mode = options.get(_IFLA_OVPN_MODE)
    return None if mode == _ONE_PEER else _by_route(f"{kind} with several peers")


def _of_bridges(_kind: str, options: _OPTIONS) -> Requirement | None:
    """Whether netfilter sees frames as they come to a port, and rewrites them there."""
    for name, own in _CALLS.items():
        path = _SYSCTL / f"bridge-nf-call-{name}"
        try:
            general = path.read_text("ascii").strip() != "0"
        except FileNotFoundError:
            continue
        if general or _is_set(options, own):
            where = f"net.bridge.{path.name}" if general else f"nf_call_{name}"
            return Requirement(
                f"is a bridge whose packets netfilter has seen already ({where}),"
                f" {_LOST}",
                f"set {where} = 0, if nobody needs it, or {_STAY}",
            )
    return None


def _is_set(options: _OPTIONS, number: int) -> bool:
    return any(options.get(number, b""))


def _is_flagged(options: _OPTIONS, number: int) -> bool:
    """Some kinds tell it by a byte, others by an option that holds nothing."""
    return options.get(number, b"\0") != b"\0"


_ONE_PEER = b"\0"  # OVPN_MODE_P2P
_IFLA_OVPN_MODE = 1
_IFLA_BRPORT_VLAN_TUNNEL = 29
_CALLS = {"iptables": 36, "ip6tables": 37}  # IFLA_BR_NF_CALL_*
# Numbers of linux/if_link.h and if_tunnel.h: IFLA_VXLAN_*, IFLA_IPTUN_*, IFLA_GRE_*.
_IPTUN_EXTERNAL, _IPTUN_REMOTE, _IPTUN_DISCOVERS = 19, 3, 10
_GRE_EXTERNAL, _GRE_REMOTE, _GRE_DISCOVERS = 18, 7, 10
_IPTUN = _over_ip(_IPTUN_EXTERNAL, _IPTUN_REMOTE, _IPTUN_DISCOVERS)
_GRE = _over_ip(_GRE_EXTERNAL, _GRE_REMOTE, _GRE_DISCOVERS)
_GRE_OVER_IPV6 = _over_ipv6(_GRE_EXTERNAL, _GRE_REMOTE)
_RULES: dict[str, Callable[[str, _OPTIONS], Requirement | None]] = {
    "bridge": _of_bridges,
    "vxlan": _fragile(25, 29),
    "geneve": _fragile(6, 13),
    "bareudp": _always(_by_route),
    "pfcp": _always(_by_route),
    "gtp": _always(_by_length),
    "ipip": _IPTUN,
    "sit": _IPTUN,
    "ip6tnl": _over_ipv6(_IPTUN_EXTERNAL, _IPTUN_REMOTE),
    **dict.fromkeys(("gre", "gretap", "erspan"), _GRE),
    **dict.fromkeys(("ip6gre", "ip6gretap", "ip6erspan"), _GRE_OVER_IPV6),
    **dict.fromkeys(("xfrm", "vti", "vti6"), _always(_by_ipsec)),
    **dict.fromkeys(("ovpn", "ovpn-dco", "ovpn-dco-v2"), _of_peers),
}
# What hands its packets to one that it stands on, or to its ports, as they are.
_ON_ONE = {"vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "macsec"}
_OF_PORTS = {"bridge", "bond", "team"}
