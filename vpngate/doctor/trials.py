# SPDX-License-Identifier: GPL-2.0-or-later
"""What this kernel can do, tried in a namespace of our own.

Knows how the daemon's own parts are tried, with its own ruleset and with packets; the
judgements are elsewhere. Nothing of this machine's network is touched.
"""

import os
import select
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

from vpngate.attachment.machine import Machine
from vpngate.capture.candidates import CandidateFilter
from vpngate.capture.live.mirror import MirrorCapture
from vpngate.capture.live.nflog import NflogCapture
from vpngate.capture.live.ring import RingCapture, SharedRing
from vpngate.capture.live.source import PacketSource
from vpngate.config import CaptureSource, Config, Plane
from vpngate.doctor import host
from vpngate.doctor.features import (
    judge_attempts,
    judge_copies,
    judge_passages,
    judge_release,
    judge_reverse_path,
    judge_untried,
)
from vpngate.doctor.findings import Finding, Weight
from vpngate.errors import MissingPrivilege, VpngateError
from vpngate.kernel.bpf_steps import BpfSteps
from vpngate.kernel.shaping.devices.naming import ifb_name, near_names
from vpngate.kernel.survey import namespace, passage, trial
from vpngate.kernel.survey.namespace import Wire
from vpngate.kernel.survey.trial import Feature
from vpngate.packets import Direction
from vpngate.prefixes.intervals import Intervals
from vpngate.registry import empty_registry
from vpngate.ruleset import Ruleset
from vpngate.snapshot import Snapshot, stance_of
from vpngate.tunnels import all_tunnels

# WireGuard's first two messages as the kernel's rules see them: their type and length.
_HANDSHAKE = {
    Direction.UPLOAD: b"\x01\0\0\0" + bytes(144),
    Direction.DOWNLOAD: b"\x02\0\0\0" + bytes(88),
}
_Seen = tuple[Mapping[Direction, passage.Passage], set[Direction | None]]
_PATIENCE = 1.0  # seconds until both copies have come


def try_kernel(config: Config) -> Iterator[Finding]:
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
    wire = namespace.lay_wire(*passage.HOMES)
    where = "capture: a mirror port"
    try:
        signatures = CandidateFilter.of(ruleset.signatures)
        with MirrorCapture(ruleset.interfaces, signatures) as capture:
            passage.send_handshake(ruleset, wire, _HANDSHAKE)
            return [judge_copies("a mirror port", _received(capture))]
    except VpngateError as error:
        return list(_failures(where, error))


def _try_gateway(ruleset: Ruleset, plane: Plane) -> list[Finding]:
    wire = namespace.lay_wire(*passage.HOMES)
    if plane is Plane.EBPF:
        without: list[Feature] = []
        left_out: frozenset[Feature] = trial.BESIDE_PROGRAMS
    else:
        without = [Feature.IFB] if host.is_loadable("ifb") else []
        unneeded = [] if ruleset.reverse_path else [Feature.REVERSE_PATH]
        left_out = trial.OF_PROGRAMS | {*without, *unneeded}
    found = list(judge_attempts(trial.attempt(wire, left_out)))
    found += [judge_untried(feature) for feature in without]
    missing = any(finding.weight is Weight.MISSING for finding in found)
    if not missing:
        found += _try_whole(replace(ruleset, enforce=not without), wire, plane)
    return found


def _pass(ruleset: Ruleset, wire: Wire, plane: Plane) -> _Seen:
    """Packets sent through a whole data plane, and which copies came of them."""
    sent = ruleset, wire, _HANDSHAKE
    if plane is Plane.NFTABLES:
        with NflogCapture(ruleset.nflog_group) as capture:
            tables = passage.Whole(None, ifb_name(ruleset.table))
            return passage.pass_through(*sent, tables), _received(capture)
    steps, seen = BpfSteps(), set[Direction | None]()

    def read() -> None:  # the ring goes with the programs
        told = steps.programs
        with RingCapture(SharedRing(*told.ring(), told.copies_lost)) as capture:
            seen.update(_received(capture))

    programs = passage.Whole(steps, near_names(ruleset.table)[0], read)
    return passage.pass_through(*sent, programs), seen


def _try_whole(ruleset: Ruleset, wire: Wire, plane: Plane) -> Iterator[Finding]:
    """The whole data plane, with packets through it and a handshake to be copied."""
    try:
        passages, seen = _pass(ruleset, wire, plane)
    except VpngateError as error:
        yield from _failures("kernel: the whole data plane", error)
    else:
        source = "NFLOG" if plane is Plane.NFTABLES else "a ring of the programs'"
        yield from judge_passages(passages)
        yield judge_copies(source, seen)
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
        seen |= {passage.direction_of(one.packet) for one in capture.receive()}
    return seen
