# SPDX-License-Identifier: GPL-2.0-or-later
"""What others have put into the kernel, held against what vpngate promises.

Knows the order of hooks and filters, what each kind of neighbour does to vpngate or
vpngate to it, and whose things are vpngate's own; does not know how they are found.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from vpngate.config import Config, Plane
from vpngate.doctor.findings import Finding, Weight, few
from vpngate.doctor.holders import Holder
from vpngate.kernel.bpf.marks import table_of
from vpngate.kernel.bpf.taken_off import Requirement
from vpngate.kernel.neighbours import (
    BaseChain,
    Filter,
    Flowtable,
    ListedTable,
)
from vpngate.kernel.shaping.devices.naming import REMEDY, objection_to
from vpngate.kernel.wire.links import Link
from vpngate.kernel.wire.tc import Queue
from vpngate.packets import HookPoint

_NETDEV = "netdev"


@dataclass(frozen=True)
class Neighbours:
    """What there is; `matched` are the interfaces that vpngate attaches to.

    daemon       whoever is a running vpngate, if one is
    table_owner  who owns the table of our name, if it has an owner
    group_reader who reads our NFLOG group, if anybody does
    """

    matched: tuple[Link, ...] = ()
    device: Link | None = None  # of the name of one where slowed packets wait
    chains: tuple[BaseChain, ...] = ()
    flowtables: tuple[Flowtable, ...] = ()
    tables: tuple[ListedTable, ...] = ()
    root: Queue | None = None  # of that device
    filters: tuple[tuple[HookPoint, Filter], ...] = ()
    daemon: Holder | None = None
    table_owner: Holder | None = None
    group_reader: Holder | None = None
    names: dict[int, str] = field(default_factory=dict)  # of interfaces, by index


def judge_neighbours(config: Config, beside: Neighbours) -> Iterator[Finding]:
    """Yields a finding for each neighbour, or one finding that there are none."""
    found = [
        *_table(config, beside),
        *_device(config, beside),
        *_group(config, beside),
        *_chains(config, beside),
        *_flowtables(config, beside),
        *_filters(config, beside),
        *_left_behind(config, beside),
    ]
    yield from found
    if not found:
        yield Finding(Weight.SOUND, "other rules", "none stands behind vpngate")


def judge_in_the_way(found: Mapping[str, Requirement]) -> Iterator[Finding]:
    """The interfaces that the eBPF plane cannot have, by name, and why."""
    for name, one in found.items():
        cost = "the interface is left alone"
        where = f"interface {name}"
        yield Finding(Weight.CONFLICT, where, one.why, cost, one.remedy)


def judge_unasked(names: Collection[str]) -> Iterator[Finding]:
    """The interfaces of which the kernel did not say what stands there."""
    if names:
        where = f"interface{'s' if len(names) > 1 else ''} {few(sorted(names))}"
        what = "not looked at: the kernel did not answer, or what was asked for is gone"
        yield Finding(Weight.UNKNOWN, where, what)


def judge_ipsec(policies: int) -> Iterator[Finding]:
    """What the eBPF plane does not slow, where tunnels of IPsec end on this machine."""
    if policies:
        yield Finding(
            Weight.COST,
            "IPsec",
            f"has {policies} polic{'y' if policies == 1 else 'ies'} for what comes in",
            "what it lets in here is not slowed",
            'gateway.plane = "nftables" slows it',
        )


def _table(config: Config, beside: Neighbours) -> Iterator[Finding]:
    name = config.gateway.table
    where = f"nftables table {_NETDEV} {name}"
    if not any((t.family, t.name) == (_NETDEV, name) for t in beside.tables):
        return
    owner = beside.table_owner
    if owner is not None and _is_daemons(owner, beside):
        return
    if owner is None:
        what = "exists already and is not vpngate's"
        cost = "the daemon replaces it, with whatever is in it"
        remedy = f"nft delete table {_NETDEV} {name}, or another gateway.table"
    else:
        what = f"belongs to {owner}"
        cost = "the daemon does not start"
        remedy = "stop it, or choose another gateway.table"
    yield Finding(Weight.CONFLICT, where, what, cost, remedy)


def _is_daemons(holder: Holder, beside: Neighbours) -> bool:
    return beside.daemon is not None and holder.may_be(beside.daemon)


def _device(config: Config, beside: Neighbours) -> Iterator[Finding]:
    link = beside.device
    if link is None or beside.daemon is not None:
        return
    where = f"interface {link.name}"
    kind = "veth" if config.gateway.plane is Plane.EBPF else "ifb"
    if objection := objection_to(link, beside.root, kind):
        yield Finding(
            Weight.CONFLICT,
            where,
            objection,
            "the daemon cannot make its own",
            REMEDY,
        )
    else:
        yield Finding(
            Weight.COST,
            where,
            "was left behind by a daemon that was killed",
            "",
            "the next one replaces it; to be rid of it: vpngate clear",
        )


def _group(config: Config, beside: Neighbours) -> Iterator[Finding]:
    reader = beside.group_reader
    if config.gateway.plane is Plane.EBPF:  # copies go another way
        return
    if reader is None or _is_daemons(reader, beside):
        return
    yield Finding(
        Weight.CONFLICT,
        f"NFLOG group {config.capture.nflog_group}",
        f"is read by {reader}",
        "the daemon does not start",
        "stop that, or choose another capture.nflog_group",
    )


def _chains(config: Config, beside: Neighbours) -> Iterator[Finding]:
    if config.gateway.plane is Plane.EBPF:  # on the way out chains come before programs
        return
    matched = [link.name for link in beside.matched]
    for chain in beside.chains:
        if (chain.family, chain.table) == (_NETDEV, config.gateway.table):
            continue
        where = f"nftables chain {chain.family} {chain.table} {chain.name}"
        stands = f"{chain.point.name.lower()}, priority {chain.priority}"
        here = _among(matched, chain.devices)
        if here and chain.priority >= config.gateway.hook_priority:
            yield _later(config, where, f"{stands}, on {few(here)}")
        elif not here and chain.point is HookPoint.EGRESS and chain.devices:
            yield Finding(
                Weight.COST,
                where,
                f"{stands}, on {few(chain.devices)}",
                "it does not see throttled packets: what leaves an ifb passes it by",
                "put its rules at ingress, or into forward or postrouting",
            )


def _later(config: Config, where: str, stands: str) -> Finding:
    """Returns the finding on a chain behind ours: it does not see slowed packets."""
    remedy = (
        f"give it a priority below {config.gateway.hook_priority},"
        " or raise gateway.hook_priority"
    )
    what = f"comes after vpngate's ({stands})"
    cost = "throttled packets pass it by"
    return Finding(Weight.CONFLICT, where, what, cost, remedy)


def _flowtables(config: Config, beside: Neighbours) -> Iterator[Finding]:
    """Chains come after a flowtable's hook as a rule; programs come before it."""
    matched = [link.name for link in beside.matched]
    if config.gateway.plane is Plane.EBPF:
        past = "flows that it forwards past an attached VLAN, bridge or PPP interface"
        cost = f"{past} are not slowed on their way out there"
    else:
        cost = "flows that it forwards pass vpngate by: they are not slowed"
    for table in beside.flowtables:
        here = _among(matched, table.devices)
        if here:
            yield Finding(
                Weight.COST,
                f"flowtable {table.family} {table.table} {table.name}",
                f"contains {few(here)}",
                cost,
                "take them out of it to slow all",
            )


def _filters(config: Config, beside: Neighbours) -> Iterator[Finding]:
    """Yields findings on filters that run before ours, or that slowed packets skip."""
    alike: dict[tuple[HookPoint, str, int, tuple[str, ...]], dict[str, None]] = {}
    for side, one in beside.filters:
        if table_of(one):  # see `_left_behind`
            continue
        if one.acts or (side is HookPoint.INGRESS and one.kind == "bpf"):
            key = (side, one.kind, one.preference, one.actions)
            alike.setdefault(key, {})[beside.names.get(one.interface, "a block")] = None
    for (side, kind, preference, kinds), names in alike.items():
        actions = f" ({', '.join(kinds)})" if kinds else ""
        where = (
            f"tc filter {kind} pref {preference} at {side.name.lower()} of"
            f" {few(list(names))}"
        )
        if side is HookPoint.INGRESS:
            yield _before(where, actions)
        else:
            yield _behind(config, where, actions)


def _left_behind(config: Config, beside: Neighbours) -> Iterator[Finding]:
    """Filters of the eBPF plane's, on a kernel where they outlive a killed daemon."""
    by_table: dict[str, dict[str, None]] = {}
    for _, one in beside.filters:
        if table := table_of(one):
            names = by_table.setdefault(table, {})
            names[beside.names.get(one.interface, "a block")] = None
    for table, names in by_table.items():
        where = f"tc filters vpngate:{table} of {few(list(names))}"
        if table != config.gateway.table:
            what = f'are of a vpngate with gateway.table = "{table}"'
            cost = "no program of another one stands there"
            remedy = "if none is running: vpngate clear with such a configuration"
            yield Finding(Weight.COST, where, what, cost, remedy)
        elif beside.daemon is None:
            what = "were left behind by a daemon that was killed, and lead nowhere"
            remedy = "the next one takes them over; to be rid of them: vpngate clear"
            yield Finding(Weight.COST, where, what, "", remedy)


def _before(where: str, actions: str) -> Finding:
    return Finding(
        Weight.COST,
        where,
        f"comes before vpngate's chains{actions}",
        "what it takes or redirects is not seen by vpngate",
        "let it pass on what it need not take",
    )


def _behind(config: Config, where: str, actions: str) -> Finding:
    what = f"comes after vpngate's chains{actions}"
    remedy = "move what it does into the forward or postrouting chain"
    if config.gateway.plane is Plane.NFTABLES:
        if config.gateway.accept_skipped_filters:
            cost = (
                "throttled packets pass it by, as gateway.accept_skipped_filters has it"
            )
            return Finding(Weight.COST, where, what, cost, "")
        remedy += ", or state gateway.accept_skipped_filters = true"
    cost = "throttled packets would pass it by: the interface is left alone"
    return Finding(Weight.CONFLICT, where, what, cost, remedy)


def _among(names: Collection[str], devices: Iterable[str]) -> list[str]:
    """The names that devices of a chain stand for; one that ends in * is a prefix."""
    listed = list(devices)
    prefixes = tuple(d[:-1] for d in listed if d.endswith("*"))
    return [name for name in names if name in listed or name.startswith(prefixes)]
