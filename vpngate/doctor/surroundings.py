# SPDX-License-Identifier: GPL-2.0-or-later
"""Privileges, folders, the address of the pages, the clock, the configuration.

Knows what the daemon needs of each; does not know how they are read.
"""

import errno
import os
from collections.abc import Iterator, Sequence

from vpngate.config import CaptureSource, Config, Listen, Mode, Plane
from vpngate.doctor.findings import Finding, Weight
from vpngate.doctor.holders import Holder
from vpngate.doctor.host import UNIT_USER, Caller, Folder, User
from vpngate.errors import Problem

NET_ADMIN, NET_RAW, PERFMON, BPF = 12, 13, 38, 39  # CAP_*, linux/capability.h

# The unit has systemd make these (StateDirectory, RuntimeDirectory).
_MADE_BY_UNIT = ("/var/lib/vpngate", "/run/vpngate")
_STARTS_NOT = "the daemon does not start"
_PROGRAMS = 'choose gateway.plane = "ebpf"'


def judge_caller(
    caller: Caller, source: CaptureSource, plane: Plane = Plane.NFTABLES
) -> Iterator[Finding]:
    """Whether a daemon that the caller started would have its privileges."""
    if source is CaptureSource.MIRROR:
        wanted = [("CAP_NET_RAW", NET_RAW, "listens to a mirror port")]
    else:
        wanted = [("CAP_NET_ADMIN", NET_ADMIN, "changes nftables and tc")]
        if plane is Plane.EBPF:
            wanted.append(("CAP_BPF", BPF, "loads programs of eBPF"))
            wanted.append(("CAP_PERFMON", PERFMON, "has its programs verified"))
    for one in wanted:
        yield _privilege(caller, *one)
    if caller.uid == 0:
        beside = ", CAP_BPF and CAP_PERFMON" if plane is Plane.EBPF else ""
        yield Finding(
            Weight.SOUND,
            "user root",
            f"asks; the unit's own user needs nothing but CAP_NET_ADMIN{beside}, and"
            " CAP_NET_RAW for a mirror port",
        )


def _privilege(caller: Caller, name: str, needed: int, needs: str) -> Finding:
    if caller.has(needed):
        return Finding(Weight.SOUND, f"privilege {name}", "the caller has it")
    return Finding(
        Weight.MISSING,
        f"privilege {name}",
        "the caller has not got it",
        f"without it no daemon {needs}, and not all can be looked at here",
        "run the doctor as root; the unit gives the daemon what it needs",
    )


def judge_configuration(path: str, problems: Sequence[Problem]) -> Finding:
    """Whether the daemon would take the configuration."""
    if not problems:
        return Finding(Weight.SOUND, path, "sound; for the registry: vpngate check")
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return Finding(
        Weight.MISSING,
        path,
        f"{count}, here passed over by the defaults",
        _STARTS_NOT,
        f"see: vpngate check --config {path}",
    )


def judge_tunnels(config: Config) -> Iterator[Finding]:
    """Yields a finding on each tunnel that other things than VPNs use, too."""
    enforcing = config.gateway.mode is Mode.ENFORCE
    if enforcing and "ipsec" in config.tunnels.enabled:
        yield Finding(
            Weight.COST,
            "tunnels.enabled: ipsec",
            "is also what Wi-Fi calling and some game consoles use, and no packet tells"
            " them apart from a VPN",
            "unregistered, they are slowed like any tunnel",
            "put the carriers' gateways into [protect] (docs/operating.md)",
        )


def judge_state(folder: Folder, user: User) -> Finding:
    """Where the last good registry is kept."""
    where = f"folder {folder.path}"
    cost = "no new registry is taken while the daemon runs, none is kept for its start"
    return _judge_folder(folder, user, where, cost)


def judge_socket(folder: Folder, user: User) -> Finding:
    """Where the control socket goes."""
    return _judge_folder(folder, user, f"folder {folder.path}", _STARTS_NOT)


def _judge_folder(folder: Folder, user: User, where: str, cost: str) -> Finding:
    if folder.writable:
        what = "writable" if folder.exists else "is made by the daemon"
        return Finding(Weight.SOUND, where, f"{what} (as {user.name})")
    if not folder.exists and folder.path in _MADE_BY_UNIT and user.name == UNIT_USER:
        return Finding(Weight.SOUND, where, "is made by the unit")
    lacking = "cannot be written" if folder.exists else "is not there"
    return Finding(
        Weight.MISSING,
        where,
        f"{lacking} (as {user.name})",
        cost,
        f"install -d -o {user.name} {folder.path}",
    )


def places_of(config: Config) -> Iterator[tuple[str, Listen]]:
    """Where pages are served, by the key that says so."""
    yield "http.listen", config.http.listen
    if config.http.metrics_listen is not None:
        yield "http.metrics_listen", config.http.metrics_listen


def judge_listen(
    where: str, answer: int, holder: Holder | None, daemon: Holder | None
) -> Finding:
    """Whether pages can be served at `where`; `answer` is what bind(2) says.

    `holder` is whoever listens on that port, if the answer is that somebody does.
    """
    if answer == 0:
        return Finding(Weight.SOUND, where, "is free")
    if answer == errno.EADDRINUSE:
        if daemon is not None and holder is not None and holder.may_be(daemon):
            return Finding(Weight.SOUND, where, "is held by the daemon")
        return Finding(
            Weight.CONFLICT,
            where,
            f"is taken by {holder}",
            _STARTS_NOT,
            "choose another address or port",
        )
    if answer == errno.EACCES:
        what, remedy = "needs a privilege", "choose a port of 1024 or above"
    else:
        what = f"cannot be used: {os.strerror(answer)}"
        remedy = "choose an address that this machine has"
    return Finding(Weight.MISSING, where, what, _STARTS_NOT, remedy)


def judge_port(
    where: str, port: int, first_free: int, answer: int
) -> Iterator[Finding]:
    """Yields a finding if root may use the port, and the unit's user may not."""
    if answer != errno.EACCES and port < first_free:
        yield Finding(
            Weight.COST,
            where,
            f"is below {first_free}",
            "the unit's user may not listen there",
            "choose a higher port, or give the unit CAP_NET_BIND_SERVICE",
        )


def judge_uplinks(config: Config, by_ports: Sequence[str]) -> Iterator[Finding]:
    """Yields a finding if slowed uploads may change their uplink.

    `by_ports` are the parameters that have one chosen by ports. Programs put right
    what queueing by flow does to that.
    """
    gateway = config.gateway
    if gateway.mode is Mode.ENFORCE and gateway.plane is Plane.NFTABLES:
        for where in by_ports:
            yield Finding(
                Weight.COST,
                where,
                "is 1: among several next hops one is chosen by ports",
                "slowed uploads may leave by another hop than before, and are lost"
                " where each hop masquerades",
                f"have connection marks keep a flow to its hop, or {_PROGRAMS}",
            )


def judge_clock(synchronised: bool | None) -> Finding:  # noqa: FBT001 - one question
    """Registrations begin and end by the clock."""
    where = "clock"
    if synchronised is None:
        return Finding(Weight.UNKNOWN, where, "the kernel does not say who keeps it")
    if synchronised:
        return Finding(Weight.SOUND, where, "synchronised")
    return Finding(
        Weight.COST,
        where,
        "not synchronised",
        "registrations begin and end when it says so, right or wrong",
        "run chrony or systemd-timesyncd",
    )


def judge_daemon(daemon: Holder | None, socket: str) -> Finding:
    """Whether one is running already."""
    if daemon is None:
        return Finding(Weight.SOUND, "daemon", f"none is running ({socket})")
    return Finding(Weight.SOUND, "daemon", f"a daemon is running: {daemon}")
