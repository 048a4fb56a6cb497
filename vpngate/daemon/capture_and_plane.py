# SPDX-License-Identifier: GPL-2.0-or-later
"""Which capture and which data plane a configuration calls for.

Knows that a mirror port is listened to and nothing more; does not know how either
works.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from vpngate.capture.candidates import CandidateFilter
from vpngate.capture.live.mirror import MirrorCapture
from vpngate.capture.live.nflog import NflogCapture
from vpngate.capture.live.ring import RingCapture, SharedRing
from vpngate.capture.live.source import PacketSource
from vpngate.config import CaptureSource, Config, Plane
from vpngate.kernel.bpf_steps import BpfSteps
from vpngate.kernel.dryrun import DryRunDataPlane
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.plane import DataPlane
from vpngate.kernel.wire.links import Watcher
from vpngate.snapshot import Snapshot

Capture = AbstractContextManager[PacketSource]


class CaptureAndPlane(NamedTuple):
    """What acts on verdicts, and how to open what hands over copies of packets.

    The plane has to be started first. Opening raises MachineFault.
    """

    plane: DataPlane
    open_capture: Callable[[Snapshot], Capture]


def capture_and_plane(config: Config, watcher: Watcher) -> CaptureAndPlane:
    """The kernel and what it copies; behind a mirror port nothing is acted on.

    `watcher` announces what happens to links.
    """
    if config.capture.source is CaptureSource.MIRROR:
        return CaptureAndPlane(DryRunDataPlane(), _open_mirror)
    if config.gateway.plane is Plane.EBPF:
        steps = BpfSteps()
        plane = LiveDataPlane(watcher, steps)
        return CaptureAndPlane(plane, lambda _snapshot: open_ring(steps))
    return CaptureAndPlane(LiveDataPlane(watcher), _open_group)


def open_ring(steps: BpfSteps) -> RingCapture:
    """What the programs of a plane that has been started copy."""
    return RingCapture(SharedRing(*steps.programs.ring(), steps.programs.copies_lost))


def _open_group(snapshot: Snapshot) -> Capture:
    return NflogCapture(snapshot.config.capture.nflog_group)


def _open_mirror(snapshot: Snapshot) -> Capture:
    signatures = (s for tunnel in snapshot.tunnels for s in tunnel.signatures)
    return MirrorCapture(snapshot.machine.interfaces, CandidateFilter.of(signatures))
