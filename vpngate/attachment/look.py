# SPDX-License-Identifier: GPL-2.0-or-later
"""What the configuration's interfaces are on this machine, now.

Knows globs, which interfaces must not be attached, and what makes a forged source
possible; does not know how the kernel lists them. Blocking, but brief.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

from netaddr import IPNetwork

from vpngate.attachment.machine import LeftAlone, Machine
from vpngate.attachment.skipped_filters import skipped_filters
from vpngate.config import Config, Mode, ReversePath, Side
from vpngate.errors import MissingInterface, Problem, Refused, VpngateError
from vpngate.kernel.survey.reverse_path import (
    filters_ipv6,
    forwards_ipv6,
    without_ipv4_filter,
)
from vpngate.kernel.wire.addresses import InterfaceAddress, current_addresses
from vpngate.kernel.wire.links import Link, current_links
from vpngate.packets import Family

_GLOB = frozenset("*?[")
_LOOPBACK = 772  # ARPHRD_LOOPBACK: nobody subscribes there, whatever a glob says
# A VRF has ports, like a bridge, but they keep their packets.
_VRF, _VLAN, _IFB = "vrf", "vlan", "ifb"


def look(config: Config) -> Machine:
    """The machine as it is, and what of it keeps vpngate from attaching or acting."""
    links = current_links()
    alone, attached = _attached(config, links)
    held = current_addresses()
    return Machine(
        attached,
        frozenset(each.address for each in held),
        networks=networks(config, links, attached, held),
        left_alone=alone,
        forgeable=tuple(forgeable(config, links)),
    )


def looked(
    at: Callable[[Config], Machine], config: Config, last: Machine
) -> tuple[Machine, VpngateError | None]:
    """The machine as it is, or as it was `last` if an error keeps it from being seen.

    Where the machine itself has to keep forged sources out, nobody then knows whether
    it still does.
    """
    try:
        return at(config), None
    except VpngateError as error:
        if (config.gateway.mode, config.gateway.side) != (Mode.ENFORCE, Side.UPLINK):
            return last, error
        problem = Problem(
            "gateway.interfaces",
            f"cannot be looked at ({error.lines[0]}), nor whether sources can be"
            " forged: no enforcing on the uplink side",
            "see what keeps it; enforcing goes on once they can be looked at",
        )
        return replace(last, forgeable=(problem,)), error


def current_networks(config: Config) -> frozenset[IPNetwork]:
    """Where subscribers are, as `networks` knows it, by this machine as it is now."""
    links = current_links()
    return networks(config, links, _attached(config, links)[1], current_addresses())


def _attached(
    config: Config, links: Mapping[str, Link]
) -> tuple[tuple[LeftAlone, ...], tuple[str, ...]]:
    names = matched(config, links)
    alone = left_alone(config, links, names, skipped_filters(config, links, names))
    refused = {one.interface for one in alone}
    return alone, tuple(name for name in names if name not in refused)


def insist(
    config: Config,
    machine: Machine,
    known: Collection[str] = (),
    *,
    suspended: bool = False,
) -> None:
    """Refused where forged sources are possible, MissingInterface for absent names.

    For names, not globs, that are new in a configuration, where it is most likely a
    slip of the pen; those `known` before come and go. Who expects one later writes a
    glob. A daemon that is `suspended` for forged sources already stays so, and takes
    whatever else is new.
    """
    if machine.forgeable and not suspended:
        raise Refused(*machine.forgeable)
    there = {*machine.interfaces, *(one.interface for one in machine.left_alone)}
    absent = [
        Problem(
            f"gateway.interfaces: {name}",
            "no such interface",
            "see `ip link`; write a glob for one that comes later",
        )
        for name in config.gateway.interfaces
        if not is_glob(name) and name not in there and name not in known
    ]
    if absent:
        raise MissingInterface(*absent)


def is_glob(name: str) -> bool:
    """Whether an entry of `gateway.interfaces` is a pattern, of which none may be."""
    return bool(_GLOB & set(name))


def matched(config: Config, links: Mapping[str, Link]) -> tuple[str, ...]:
    """The interfaces, of those there are, that the configuration means.

    No ifb: ours or another daemon's, nobody is behind it.
    """
    return tuple(
        sorted(
            name
            for name, link in links.items()
            if link.kind != _IFB
            and link.hardware != _LOOPBACK
            and any(fnmatchcase(name, glob) for glob in config.gateway.interfaces)
        )
    )


def left_alone(
    config: Config,
    links: Mapping[str, Link],
    interfaces: Collection[str],
    filtered: Mapping[str, LeftAlone],
) -> tuple[LeftAlone, ...]:
    """Those of the interfaces that are not attached, and why.

    Where the way back to a source is asked for, an interface whose packets belong to
    another one has none to show. And of two that stand on each other only the upper
    one is attached: packets would be shaped twice. `filtered` are those that have
    filters which slowed packets would pass by.
    """
    strict = config.gateway.reverse_path is ReversePath.STRICT
    found = []
    for name in interfaces:
        if upper := _upper(links, links[name], interfaces, strict=strict):
            what = f"{upper} stands on it and has its packets"
            found.append(LeftAlone(name, what, _upper_remedy(upper)))
        elif name in filtered:
            found.append(filtered[name])
    return tuple(found)


def _upper_remedy(upper: str) -> str:
    return f"name {upper} instead; for a transparent bridge see gateway.reverse_path"


def _upper(
    links: Mapping[str, Link], lower: Link, matched: Collection[str], *, strict: bool
) -> str:
    """What stands on an interface in its way; "" if nothing does."""
    for name, link in sorted(links.items()):
        is_master = bool(lower.master) and lower.master == link.index
        is_child = link.parent == lower.index
        has_its_packets = (is_master and link.kind != _VRF) or (
            is_child and link.kind == _VLAN
        )
        if (strict and has_its_packets) or (
            name in matched and (is_master or is_child)
        ):
            return name
    return ""


def networks(
    config: Config,
    links: Mapping[str, Link],
    attached: Collection[str],
    held: Collection[InterfaceAddress],
) -> frozenset[IPNetwork]:
    """Where subscribers are, as prefixes: the networks of the attached interfaces.

    Not link-local ones, which nobody registers, nor a single address: that is a peer's.
    On the uplink side no interface tells.
    """
    if config.gateway.side is Side.UPLINK:
        return frozenset()
    indexes = {links[name].index for name in attached}
    found = (
        IPNetwork((int.from_bytes(each.network, "big"), each.length), version=version)
        for each in held
        if each.interface in indexes
        for version in [4 if len(each.network) == Family.IPV4.width else 6]
    )
    return frozenset(
        each.cidr for each in found if each.size > 1 and not each.cidr.is_link_local()
    )


def forgeable(config: Config, links: Mapping[str, Link]) -> Iterator[Problem]:
    """Why a forged source could have somebody slowed.

    On the subscriber side vpngate itself asks for the way back. On the uplink side the
    subscribers' packets come in elsewhere, and the machine has to. It has to on the
    uplinks, too: what comes in there in a subscriber's name and is routed back out
    leaves by the hook that subscribers' packets leave by.
    """
    gateway = config.gateway
    if (gateway.mode, gateway.side) != (Mode.ENFORCE, Side.UPLINK):
        return
    taking = [
        name
        for name, link in links.items()
        if link.kind != _IFB and link.up and link.hardware != _LOOPBACK
    ]
    for name in without_ipv4_filter(taking):
        yield Problem(
            f"interface {name}",
            "takes packets whatever source they claim, so that anybody there could have"
            " others slowed: no enforcing on the uplink side",
            f"sysctl net/ipv4/conf/{name}/rp_filter=1",
        )
    if forwards_ipv6() and not _filters_ipv6():
        yield Problem(
            "IPv6",
            "is forwarded whatever source it claims, so that anybody could have others"
            " slowed: no enforcing on the uplink side",
            "nft: `fib saddr . iif oif missing drop` in a prerouting chain of inet or"
            " ip6",
        )


def _filters_ipv6() -> bool:
    """Whether there is a filter: none to rely on where the kernel does not tell."""
    try:
        return filters_ipv6()
    except VpngateError:
        return False
