# SPDX-License-Identifier: GPL-2.0-or-later
"""What the configuration's interfaces are on this machine, now.

Knows globs, which interfaces must not be attached, and what makes a forged source
possible; does not know how the kernel lists them. Blocking, but brief.
"""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from fnmatch import translate
from functools import lru_cache

from netaddr import IPNetwork

from vpngate.attachment.machine import LeftAlone, Machine
from vpngate.attachment.skipped_filters import skipped_filters
from vpngate.attachment.vrfs import VRF, elsewhere, without_packets
from vpngate.config import CaptureSource, Config, Mode, ReversePath, Side
from vpngate.errors import (
    KernelRefused,
    MissingInterface,
    Problem,
    Refused,
    VpngateError,
)
from vpngate.kernel.shaping.devices.naming import shapes
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
_VLAN = "vlan"
_PAUSES = (0.02, 0.1, 0.4)  # seconds


def look(config: Config) -> Machine:
    """The machine as it is, and what of it keeps vpngate from attaching or acting.

    A list that changes while it is read, as where sessions come and go, is read again.
    """
    for pause in _PAUSES:
        try:
            return _seen(config)
        except KernelRefused:
            time.sleep(pause)
    return _seen(config)


def _seen(config: Config) -> Machine:
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
        if config.gateway.side is not Side.UPLINK:
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
    attached = tuple(name for name in names if name not in refused)
    return (*alone, *awaited(config, links)), attached


def insist(
    config: Config,
    machine: Machine,
    known: Collection[str] = (),
    *,
    suspended: bool = False,
) -> None:
    """Refused where forged sources are possible; MissingInterface behind a mirror.

    What is listened to behind a mirror port is settled at the start: a name that no
    interface has would go unheard for good, so that one which is new in a
    configuration, not `known` before, is most likely a slip of the pen. A daemon that
    is `suspended` for forged sources already stays so, and takes whatever else is new.
    """
    if machine.forgeable and config.gateway.mode is Mode.ENFORCE and not suspended:
        raise Refused(*machine.forgeable)
    if config.capture.source is not CaptureSource.MIRROR:
        return
    absent = [
        Problem(f"gateway.interfaces: {one.interface}", one.what, "see `ip link`")
        for one in machine.left_alone
        if one.awaited and one.interface not in known
    ]
    if absent:
        raise MissingInterface(*absent)


def is_glob(name: str) -> bool:
    """Whether an entry of `gateway.interfaces` is a pattern, of which none may be."""
    return bool(_GLOB & set(name))


@lru_cache(maxsize=8)
def _means(entries: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a name is meant by any entry: literals looked up, globs compiled once."""
    literal = frozenset(entry for entry in entries if not is_glob(entry))
    globs = re.compile("|".join(map(translate, filter(is_glob, entries))) or r"(?!)")
    return lambda name: name in literal or globs.match(name) is not None


def _may_be_attached(link: Link) -> bool:
    return link.hardware != _LOOPBACK and not shapes(link)


def matched(config: Config, links: Mapping[str, Link]) -> tuple[str, ...]:
    """The interfaces, of those there are, that the configuration means.

    Never one where packets wait: they have passed an interface already.
    """
    meant = _means(tuple(config.gateway.interfaces))
    return tuple(
        sorted(
            name
            for name, link in links.items()
            if _may_be_attached(link) and meant(name)
        )
    )


def awaited(config: Config, links: Mapping[str, Link]) -> Iterator[LeftAlone]:
    """The names, not globs, that no interface has which could be attached."""
    for name in config.gateway.interfaces:
        if is_glob(name):
            continue
        if name not in links:
            what, remedy = "there is none of that name", "it is attached once it comes"
            yield LeftAlone(name, what, remedy, awaited=True)
        elif not _may_be_attached(links[name]):
            what = "it is an ifb, or the loopback: no subscriber is there"
            yield LeftAlone(name, what, "name the interface that packets come in by")


def left_alone(
    config: Config,
    links: Mapping[str, Link],
    interfaces: Collection[str],
    filtered: Mapping[str, LeftAlone],
) -> tuple[LeftAlone, ...]:
    """Those of the interfaces that are not attached, and why.

    Where the way back to a source is asked for, an interface whose packets belong to
    another one has none to show. Of two that stand on each other only the upper one is
    attached: packets would be shaped twice. `filtered` have filters that slowed packets
    would pass by. All the rest is of one VRF, or none.
    """
    strict = config.gateway.reverse_path is ReversePath.STRICT
    matched, standing = frozenset(interfaces), _standing(links)
    found = []
    for name in interfaces:
        on_it = standing.get(links[name].index, ())
        if links[name].kind == VRF:
            found.append(without_packets(name))
        elif upper := _upper(links[name], on_it, matched, strict=strict):
            what = f"{upper} stands on it and has its packets"
            found.append(LeftAlone(name, what, _upper_remedy(upper)))
        elif name in filtered:
            found.append(filtered[name])
    rest = matched.difference(one.interface for one in found)
    return (*found, *elsewhere(config.gateway.interfaces, links, rest))


def _upper_remedy(upper: str) -> str:
    return f"name {upper} instead; for a transparent bridge see gateway.reverse_path"


def _standing(links: Mapping[str, Link]) -> Mapping[int, list[Link]]:
    """What stands on an interface, by its index: a master, VLANs and their like."""
    by_index = {link.index: link for link in links.values()}
    standing = defaultdict(list)
    for link in links.values():
        if link.parent:
            standing[link.parent].append(link)
        upper = by_index.get(link.master)
        if upper and upper.kind != VRF:  # whose ports keep their packets
            standing[link.index].append(upper)
    return standing


def _upper(
    lower: Link, on_it: Collection[Link], matched: frozenset[str], *, strict: bool
) -> str:
    """What stands on an interface in its way, first by name; "" if nothing does."""
    in_the_way = []
    for link in on_it:
        has_its_packets = link.index == lower.master or link.kind == _VLAN
        if (strict and has_its_packets) or link.name in matched:
            in_the_way.append(link.name)
    return min(in_the_way, default="")


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
    found = (_network(e.network, e.length) for e in held if e.interface in indexes)
    return frozenset(one for one in found if one is not None)


@lru_cache(maxsize=1 << 13)  # the same again at each look, and netaddr takes its time
def _network(network: bytes, length: int) -> IPNetwork | None:
    version = 4 if len(network) == Family.IPV4.width else 6
    whole = IPNetwork((int.from_bytes(network, "big"), length), version=version).cidr
    return None if whole.size == 1 or whole.is_link_local() else whole


def forgeable(config: Config, links: Mapping[str, Link]) -> Iterator[Problem]:
    """Why a forged source could have somebody slowed.

    On the subscriber side vpngate itself asks for the way back. On the uplink side the
    subscribers' packets come in elsewhere, and the machine has to. It has to on the
    uplinks, too: what comes in there in a subscriber's name and is routed back out
    leaves by the hook that subscribers' packets leave by. It is looked at in observe
    mode, too: a command may have the gateway enforce.
    """
    if config.gateway.side is not Side.UPLINK:
        return
    taking = [
        name for name, link in links.items() if link.up and _may_be_attached(link)
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
