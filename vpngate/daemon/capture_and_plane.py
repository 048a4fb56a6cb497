# SPDX-License-Identifier: GPL-2.0-or-later
"""Which capture and which data plane a configuration calls for.

Knows that a mirror port is listened to and nothing more; does not know how either
works.
"""

from contextlib import AbstractContextManager

from vpngate.capture.candidates import CandidateFilter
from vpngate.capture.live.mirror import MirrorCapture
from vpngate.capture.live.nflog import NflogCapture
from vpngate.capture.live.source import PacketSource
from vpngate.config import CaptureSource, Config, Plane
from vpngate.errors import MissingFeature, Problem
from vpngate.kernel.dryrun import DryRunDataPlane
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.plane import DataPlane
from vpngate.kernel.wire.links import Watcher
from vpngate.snapshot import Snapshot


def data_plane(config: Config, watcher: Watcher) -> DataPlane:
    """What acts on verdicts: the kernel, or nothing behind a mirror port.

    `watcher` announces what happens to links.
    """
    if config.capture.source is CaptureSource.MIRROR:
        return DryRunDataPlane()
    return live_plane(config.gateway.plane, watcher)


def live_plane(plane: Plane, watcher: Watcher | None = None) -> DataPlane:
    """The kernel, by the plane that is asked for.

    A configuration with the other one is refused before (`config/rules.py`).
    """
    if plane is Plane.EBPF:
        what = "the eBPF plane is not whole in this version"
        raise MissingFeature(Problem("gateway.plane", what))
    return LiveDataPlane(watcher)


def open_capture(snapshot: Snapshot) -> AbstractContextManager[PacketSource]:
    """The capture that the configuration names; raises MachineFault."""
    capture = snapshot.config.capture
    if capture.source is CaptureSource.NFLOG:
        return NflogCapture(capture.nflog_group)
    signatures = (s for tunnel in snapshot.tunnels for s in tunnel.signatures)
    return MirrorCapture(snapshot.machine.interfaces, CandidateFilter.of(signatures))
