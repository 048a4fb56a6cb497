# SPDX-License-Identifier: GPL-2.0-or-later
"""The examination: look at everything, have it judged, and say what could not be seen.

Knows in which order things are looked at, and which of them need a privilege; the
judgements are elsewhere. Features of the kernel are tried in a namespace of our own,
with the daemon's own parts and its own ruleset.
"""

import errno
import os
import select
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from vpngate.attachment.look import matched
from vpngate.attachment.machine import Machine
from vpngate.capture.candidates import CandidateFilter
from vpngate.capture.live.mirror import MirrorCapture
from vpngate.capture.live.nflog import NflogCapture
from vpngate.capture.live.source import PacketSource
from vpngate.config import CaptureSource, Config, Examined, Plane
from vpngate.doctor import holders, host
from vpngate.doctor.conflicts import (
    Neighbours,
    judge_in_the_way,
    judge_neighbours,
)
from vpngate.doctor.features import (
    judge_attempts,
    judge_copies,
    judge_passages,
    judge_release,
    judge_reverse_path,
    judge_untried,
)
from vpngate.doctor.findings import Finding, Weight, in_order
from vpngate.doctor.holders import Holder
from vpngate.doctor.interfaces import judge_interfaces
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
    places_of,
)
from vpngate.errors import MissingPrivilege, VpngateError
from vpngate.kernel import neighbours
from vpngate.kernel.bpf.in_the_way import in_the_way
from vpngate.kernel.shaping.devices.naming import ifb_names
from vpngate.kernel.survey import namespace, trial
from vpngate.kernel.survey.namespace import Wire
from vpngate.kernel.survey.trial import Feature
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.channel import NETFILTER, ROUTE, Channel
from vpngate.kernel.wire.links import Link, current_links
from vpngate.packets import Direction, HookPoint
from vpngate.prefixes.intervals import Intervals
from vpngate.registry import empty_registry
from vpngate.ruleset import Ruleset
from vpngate.snapshot import Snapshot, stance_of
from vpngate.supply.fleet_key import fleet_key_problems
from vpngate.tunnels import all_tunnels

# WireGuard's first two messages as the kernel's rules see them: their type and length.
_HANDSHAKE = {
    Direction.UPLOAD: b"\x01\0\0\0" + bytes(144),
    Direction.DOWNLOAD: b"\x02\0\0\0" + bytes(88),
}
_PATIENCE = 1.0  # seconds until both copies have come


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
        *_trial(config),
        judge_daemon(daemon, socket),
        *_attached(config, examined, who, daemon),
        *_surroundings(config, who, daemon, socket),
    ]
    return in_order(findings)


def _trial(config: Config) -> Iterator[Finding]:
    """Yields what the kernel can do, tried in a namespace of our own."""
    snapshot = Snapshot(
        config,
        all_tunnels(),
        empty_registry(),
        Machine((namespace.NEAR,)),
        stance_of(config),
    )
    # Nobody is spared there, or the test packets might be.
    ruleset = replace(snapshot.ruleset(time.time()), spared=Intervals.empty())
    passive = config.capture.source is CaptureSource.MIRROR
    plane = config.gateway.plane
    if not passive:
        yield judge_release(os.uname().release, plane)
    try:
        yield from namespace.alone(
            lambda: _try_mirror(ruleset) if passive else _try_gateway(ruleset, plane)
        )
    except VpngateError as error:
        yield Finding(
            Weight.UNKNOWN,
            "kernel: features",
            f"not tried: {error.lines[0]}",
            "whether this kernel has all that vpngate needs is not known",
        )


def _try_mirror(ruleset: Ruleset) -> list[Finding]:
    wire = namespace.lay_wire(*trial.HOMES)
    where = "capture: a mirror port"
    try:
        signatures = CandidateFilter.of(ruleset.signatures)
        with MirrorCapture(ruleset.interfaces, signatures) as capture:
            trial.send_handshake(ruleset, wire, _HANDSHAKE)
            return [judge_copies("a mirror port", _received(capture))]
    except VpngateError as error:
        return list(_failures(where, error))


def _try_gateway(ruleset: Ruleset, plane: Plane) -> list[Finding]:
    wire = namespace.lay_wire(*trial.HOMES)
    if plane is Plane.EBPF:
        return list(judge_attempts(trial.attempt(wire, trial.OF_NFTABLES)))
    without = [Feature.IFB] if host.is_loadable("ifb") else []
    unneeded = [] if ruleset.reverse_path else [Feature.REVERSE_PATH]
    left_out = {*without, *unneeded, *trial.OF_PROGRAMS}
    found = list(judge_attempts(trial.attempt(wire, left_out)))
    found += [judge_untried(feature) for feature in without]
    missing = any(finding.weight is Weight.MISSING for finding in found)
    if not missing:
        found += _try_whole(replace(ruleset, enforce=not without), wire)
    return found


def _try_whole(ruleset: Ruleset, wire: Wire) -> Iterator[Finding]:
    """The whole data plane, with packets through it and a handshake to be copied."""
    try:
        with NflogCapture(ruleset.nflog_group) as capture:
            passages = trial.pass_through(ruleset, wire, _HANDSHAKE)
            seen = _received(capture)
    except VpngateError as error:
        yield from _failures("kernel: the whole data plane", error)
    else:
        yield from judge_passages(passages)
        yield judge_copies("NFLOG", seen)
        if ruleset.reverse_path:
            yield judge_reverse_path(stray_came=None in seen)


def _failures(where: str, error: VpngateError) -> Iterator[Finding]:
    """What stands against the daemon's parts; a privilege only we need is no lack."""
    if isinstance(error, MissingPrivilege):
        yield Finding(Weight.UNKNOWN, where, f"not tried: {error.lines[0]}")
        return
    for line in error.lines:
        yield Finding(Weight.MISSING, where, line, "the daemon does not start")


def _received(capture: PacketSource) -> set[Direction | None]:
    """What came of the handshake until both ways were seen, or it took too long.

    None stands for what came from an address that does not live there.
    """
    seen: set[Direction | None] = set()
    deadline = time.monotonic() + _PATIENCE
    while not seen.issuperset(Direction) and (left := deadline - time.monotonic()) > 0:
        select.select([capture], [], [], left)
        seen |= {trial.direction_of(one.packet) for one in capture.receive()}
    return seen


def _attached(
    config: Config, examined: Examined, who: host.Caller, daemon: Holder | None
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
    if config.gateway.plane is Plane.EBPF and daemon is None:
        yield from _in_the_way(config, {name: links[name].index for name in names})


def _in_the_way(config: Config, interfaces: Mapping[str, int]) -> Iterator[Finding]:
    """What keeps programs off interfaces; a running daemon tells its own."""
    table = config.gateway.table
    try:
        with closing(Channel(NETFILTER)) as nftables, closing(Channel(ROUTE)) as route:
            found = in_the_way(nftables, route, interfaces, table=table)
    except VpngateError as error:
        what = f"not looked at: {error.lines[0]}"
        yield Finding(Weight.UNKNOWN, "what comes before programs", what)
    else:
        yield from judge_in_the_way(found)


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
    possible = ifb_names(config.gateway.table)
    ifb = next((links[name] for name in possible if name in links), None)
    with closing(Channel(NETFILTER)) as nftables, closing(Channel(ROUTE)) as route:
        return Neighbours(
            matched=tuple(links[name] for name in names),
            ifb=ifb,
            root=tc.queue_at(route, ifb.index, tc.ROOT) if ifb else None,
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
    yield judge_clock(host.is_clock_synchronised())
