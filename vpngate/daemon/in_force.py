# SPDX-License-Identifier: GPL-2.0-or-later
"""What is acted on at this moment, for whoever decides, shows or counts by it.

Knows the snapshot in force and the pipeline that decides by it; does not know how it
comes into force (`applying/`).
"""

import logging
from collections.abc import Callable, Sequence

from netaddr import IPNetwork

from vpngate.attachment.machine import LeftAlone
from vpngate.daemon.traffic.pipeline import Pipeline
from vpngate.kernel.plane import DataPlane
from vpngate.log_events import named
from vpngate.snapshot import Snapshot

_FEW = 4  # names in a line
_TRIED_AGAIN = "it is tried again twice a minute"

_log = logging.getLogger(__name__)


class InForce:
    """The snapshot in force; only what applies changes may adopt another.

    told             are called once another is
    spared_networks  of subscribers, whom the registry spares as a whole
    handing_over     held by whoever takes verdicts to the kernel
    """

    def __init__(
        self, snapshot: Snapshot, pipeline: Pipeline, plane: DataPlane
    ) -> None:
        self.snapshot = snapshot
        self.told: list[Callable[[], None]] = []
        self.spared_networks: list[IPNetwork] = []
        self.handing_over = pipeline.handing_over
        self._pipeline = pipeline
        self._plane = plane
        self._attached: tuple[str, ...] = ()  # as was told last
        self._left_alone: tuple[LeftAlone, ...] = ()

    @property
    def attached(self) -> tuple[str, ...]:
        """The interfaces that packets are seen at; from any thread."""
        refused = self._plane.refused
        interfaces = self.snapshot.machine.interfaces
        return tuple(name for name in interfaces if name not in refused)

    @property
    def left_alone(self) -> tuple[LeftAlone, ...]:
        """The interfaces that are meant, and not attached; from any thread."""
        refused = (
            LeftAlone(name, f"the kernel does not take it ({why})", _TRIED_AGAIN)
            for name, why in self._plane.refused.items()
        )
        return (*self.snapshot.machine.left_alone, *refused)

    def adopt(self, snapshot: Snapshot) -> None:
        """Decide by another snapshot from now on."""
        if snapshot is not self.snapshot:
            self.snapshot = snapshot
            self._pipeline.adopt(snapshot)
            for tell in self.told:
                tell()

    def note_interfaces(self) -> None:
        """Tell, once, what was attached, let go, or left alone."""
        attached, alone = self.attached, self.left_alone
        for one in alone:
            if one not in self._left_alone:
                _log.warning(
                    "%s",
                    one,
                    extra=named("interface_left_alone", interface=one.interface),
                )
        if attached != self._attached:
            old, new = set(self._attached), set(attached)
            _log.info(
                "attached to %s (new: %s; let go: %s)",
                counted(attached),
                few(sorted(new - old)),
                few(sorted(old - new)),
                extra=named(
                    "interfaces_attached",
                    attached=len(attached),
                    new=len(new - old),
                    let_go=len(old - new),
                ),
            )
        self._attached, self._left_alone = attached, alone


def counted(interfaces: Sequence[str]) -> str:
    """Interfaces in one line: which, if they are few."""
    if len(interfaces) > _FEW:
        return f"{len(interfaces)} interfaces"
    return few(interfaces)


def few(names: Sequence[str]) -> str:
    """Some names in one line."""
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return (", ".join(names[:_FEW]) or "none") + more
