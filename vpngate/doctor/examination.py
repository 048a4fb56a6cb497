# SPDX-License-Identifier: GPL-2.0-or-later
"""The examination: look at everything, have it judged, and say what could not be seen.

Knows in which order things are looked at, and which of them need a privilege; the
judgements are elsewhere. What the kernel can do is tried in `trials.py`.
"""

import errno
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from vpngate.attachment.look import matched
from vpngate.config import CaptureSource, Config, Examined, Plane
from vpngate.doctor import holders, host
from vpngate.doctor.before_programs import judge_programs
from vpngate.doctor.conflicts import Neighbours, judge_neighbours
from vpngate.doctor.findings import Finding, Weight, in_order
from vpngate.doctor.holders import Holder
from vpngate.doctor.interfaces import judge_far_ends, judge_interfaces
from vpngate.doctor.surroundings import (
    NET_ADMIN,
    judge_caller,
    judge_clock,
    judge_configuration,
    judge_daemon,
    judge_listen,
    judge_port,
    judge_socket,
    judge_state,
    judge_tunnels,
    judge_uplinks,
    places_of,
)
from vpngate.doctor.trials import try_kernel
from vpngate.errors import MissingPrivilege, VpngateError
from vpngate.kernel import neighbours
from vpngate.kernel.shaping.devices.naming import far_names, ifb_names, near_names
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.channel import NETFILTER, ROUTE, Channel
from vpngate.kernel.wire.links import Link, current_links
from vpngate.packets import HookPoint
from vpngate.supply.fleet_key import fleet_key_problems


def examine(
    examined: Examined, config: Config, path: str, socket: str
) -> list[Finding]:
    """All findings, the worst first; touches nothing.

    `config` is what `examined` holds, read from `path`; `socket` is where a daemon
    would answer.
    """
    who = host.caller()
    owner = _owner(config) if who.has(NET_ADMIN) else None
    daemon = holders.behind_socket(socket)
    if daemon is None and owner is not None and owner.is_daemon:
        daemon = owner
    findings = [
        judge_configuration(
            path, [*examined.problems, *fleet_key_problems(config.gateway.share_key)]
        ),
        *judge_tunnels(config),
        *judge_caller(who, config.capture.source, config.gateway.plane),
        *try_kernel(config),
        judge_daemon(daemon, socket),
        *_attached(config, examined, who, daemon, socket),
        *_surroundings(config, who, daemon, socket),
    ]
    return in_order(findings)


def _attached(
    config: Config,
    examined: Examined,
    who: host.Caller,
    daemon: Holder | None,
    socket: str,
) -> Iterator[Finding]:
    """The interfaces, and what others have put there."""
    if "gateway" in examined.faulty:
        yield Finding(
            Weight.UNKNOWN,
            "interfaces",
            "not looked at: the section [gateway] is wrong",
        )
        return
    links = current_links()
    names = matched(config, links)
    yield from judge_interfaces(config, links, names)
    if config.capture.source is CaptureSource.MIRROR:
        return
    try:
        beside = _neighbours(config, links, names, who)
    except VpngateError as error:
        yield Finding(
            Weight.UNKNOWN,
            "other rules",
            f"not looked at: {error.lines[0]}",
            "whether they stand in the way is not known",
        )
    else:
        yield from judge_neighbours(config, replace(beside, daemon=daemon))
    if config.gateway.plane is Plane.EBPF:
        indexes = {name: links[name].index for name in names}
        yield from judge_programs(config, indexes, daemon, socket)
        yield from judge_far_ends(config.gateway.table, links)


def _neighbours(
    config: Config,
    links: Mapping[str, Link],
    names: tuple[str, ...],
    who: host.Caller,
) -> Neighbours:
    """Returns what others have put into the kernel; or MissingPrivilege."""
    if not who.has(NET_ADMIN):
        raise MissingPrivilege("the caller may not: it needs CAP_NET_ADMIN")
    by_index = {link.index: link.name for link in links.values()}
    device = _shaping_device(config, links)
    with closing(Channel(NETFILTER)) as nftables, closing(Channel(ROUTE)) as route:
        return Neighbours(
            matched=tuple(links[name] for name in names),
            device=device,
            root=tc.queue_at(route, device.index, tc.ROOT) if device else None,
            chains=tuple(neighbours.base_chains(nftables)),
            flowtables=tuple(neighbours.flowtables(nftables)),
            tables=tuple(neighbours.tables(nftables)),
            filters=tuple(
                (side, one)
                for name in names
                for side in HookPoint
                for one in neighbours.asked(route, links[name].index, side)
            ),
            table_owner=_owner(config),
            group_reader=holders.of_group(config.capture.nflog_group),
            names=by_index,
        )


def _shaping_device(config: Config, links: Mapping[str, Link]) -> Link | None:
    """What has a name that the daemon's own devices will have, whoever's it is."""
    table = config.gateway.table
    if config.gateway.plane is Plane.EBPF:
        names = near_names(table) + far_names(table)
    else:
        names = ifb_names(table)
    return next((links[name] for name in names if name in links), None)


def _owner(config: Config) -> Holder | None:
    """Who owns the table of our name; None if it has no owner, or cannot be told."""
    wanted = ("netdev", config.gateway.table)
    with suppress(VpngateError), closing(Channel(NETFILTER)) as nftables:
        for table in neighbours.tables(nftables):
            if (table.family, table.name) == wanted and table.owner:
                return holders.of_netlink_port(table.owner)
    return None


def _surroundings(
    config: Config, who: host.Caller, daemon: Holder | None, socket: str
) -> Iterator[Finding]:
    user = host.user_of_unit(who)
    yield judge_state(host.folder(config.registry.state, user), user)
    yield judge_socket(host.folder(str(Path(socket).parent), user), user)
    for key, listen in places_of(config):
        where = f"{key} {listen}"
        answer = host.may_listen(*listen)
        taken = answer == errno.EADDRINUSE
        holder = holders.of_tcp_port(listen.port) if taken else None
        yield judge_listen(where, answer, holder, daemon)
        yield from judge_port(where, listen.port, host.first_free_port(), answer)
    yield from judge_uplinks(config, host.routed_by_ports())
    yield judge_clock(host.is_clock_synchronised())
