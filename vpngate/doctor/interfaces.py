# SPDX-License-Identifier: GPL-2.0-or-later
"""The interfaces that the configuration means: which they are, and their link layer.

Knows what can be read of an interface's packets, which must not be matched together,
and what a daemon's own pairs may lack; does not know how interfaces are listed.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from vpngate.attachment.look import awaited, forgeable, is_glob, left_alone
from vpngate.attachment.skipped_filters import skipped_filters
from vpngate.config import CaptureSource, Config, Mode, Plane
from vpngate.doctor.findings import Finding, Weight, few
from vpngate.kernel.shaping.devices.naming import far_names
from vpngate.kernel.shaping.devices.steering import is_steered
from vpngate.kernel.wire.links import Link

# ARPHRD_* (linux/if_arp.h) whose packets we can find the IP header of. All but
# Ethernet hand their packets over from the IP header on.
_LAYERS = {
    1: "Ethernet",
    512: "PPP",
    519: "bare IP",
    768: "IP in IP",
    769: "IP in IPv6",
    776: "IPv6 in IP",
    65534: "bare IP",
}


def judge_interfaces(
    config: Config, links: Mapping[str, Link], matched: Collection[str]
) -> Iterator[Finding]:
    """All that can be said of `gateway.interfaces` at this moment."""
    yield from _unmatched(config, links, matched)
    enforcing = config.gateway.mode is Mode.ENFORCE
    for problem in forgeable(config, links) if enforcing else ():
        yield Finding(
            Weight.MISSING,
            problem.where,
            problem.what,
            "the daemon does not start",
            problem.remedy,
        )
    filtered = skipped_filters(config, links, matched)
    alone = {one.interface: one for one in left_alone(config, links, matched, filtered)}
    alike: dict[Finding, list[str]] = {}
    for name in matched:
        if one := alone.get(name):
            cost = "it is left alone: nothing is seen there"
            found = Finding(Weight.COST, "interface", one.what, cost, one.remedy)
            alike.setdefault(found, []).append(name)
            continue
        alike.setdefault(_judge(links[name], config), []).append(name)
    for finding, names in alike.items():
        plural = "s" if len(names) > 1 else ""
        yield replace(finding, where=f"interface{plural} {few(names)}")


def judge_far_ends(table: str, links: Mapping[str, Link]) -> Iterator[Finding]:
    """Yields a finding on the pairs of a daemon that may reorder what they pass."""
    there = [links[name] for name in far_names(table) if name in links]
    names = [one.name for one in there if is_steered(one.name, one.index) is False]
    if names:
        yield Finding(
            Weight.COST,
            f"interface{'s' if len(names) > 1 else ''} {few(names)}",
            "no processors are set for what comes out",
            "of a slowed flow a packet may come before an earlier one",
            "install systemd/vpngate.rules (docs/ebpf.md), and restart vpngate",
        )


def _unmatched(
    config: Config, links: Mapping[str, Link], matched: Collection[str]
) -> Iterator[Finding]:
    names = config.gateway.interfaces
    listens = config.capture.source is CaptureSource.MIRROR
    for one in awaited(config, links):
        where, remedy = f"interface {one.interface}", f"see `ip link`; {one.remedy}"
        if listens and one.awaited:
            cost, remedy = "the daemon does not start", "see `ip link`"
            yield Finding(Weight.MISSING, where, one.what, cost, remedy)
        else:
            cost = "it is left alone: nothing is seen there"
            yield Finding(Weight.COST, where, one.what, cost, remedy)
    if not matched and all(map(is_glob, names)):
        yield Finding(
            Weight.COST,
            f"interfaces {', '.join(names)}",
            "none matches at the moment",
            "nothing is seen until one comes",
            "see `ip link`",
        )


def _judge(link: Link, config: Config) -> Finding:
    """What is to be said of an interface, without its name: many are alike.

    Where programs do not know a link layer, what follows is said by who asks for them.
    """
    where = "interface"
    kind = link.kind or "hardware"
    layer = _LAYERS.get(link.hardware)
    if layer is None and config.gateway.plane is Plane.EBPF:
        layer = f"ARPHRD {link.hardware}"
    if layer is None:
        return Finding(
            Weight.COST,
            where,
            f"{kind}, of a link layer (ARPHRD {link.hardware}) that vpngate does not"
            " know and takes for bare IP",
            "where that is wrong, nothing is recognised on it",
            "try `vpngate classify` on a capture from it",
        )
    if not link.up:
        return Finding(
            Weight.COST,
            where,
            f"{kind}, {layer}, is down",
            "nothing is seen until it is up",
            "ip link set INTERFACE up",
        )
    return Finding(Weight.SOUND, where, f"{kind}, {layer}, up")
