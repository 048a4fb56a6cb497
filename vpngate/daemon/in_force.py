# SPDX-License-Identifier: GPL-2.0-or-later
"""The snapshot in force, and the one way to put another in its place.

Knows the order: the kernel first, then everyone who decides by it; one change at a
time. Does not know where a change comes from. If the kernel refuses, the old
snapshot stays in force everywhere.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from netaddr import IPNetwork

from vpngate.config import Config
from vpngate.daemon.snapshot import LeftAlone, Machine, Snapshot
from vpngate.daemon.threads import in_thread
from vpngate.daemon.traffic.pipeline import Pipeline
from vpngate.kernel.plane import DataPlane
from vpngate.ruleset import Ruleset
from vpngate.timekeeping.moments import NEVER, Span, When, span_of

_FEW = 4  # names in a line
_TRIED_AGAIN = "it is tried again twice a minute"

_log = logging.getLogger(__name__)


class InForce:
    """Holds the snapshot in force, and the ruleset that the kernel has of it."""

    def __init__(
        self,
        snapshot: Snapshot,
        plane: DataPlane,
        pipeline: Pipeline,
        clock: Callable[[], When],
    ) -> None:
        self.snapshot = snapshot
        self._plane = plane
        self._pipeline = pipeline
        self._clock = clock
        self._turn = asyncio.Lock()
        self._ruleset, self._settled = _held(snapshot, clock())
        self.spared_networks: list[IPNetwork] = []  # of subscribers, by the registry
        self._broken_off = False  # a change was: who knows what the kernel has of it
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

    async def install(self) -> None:
        """Have the kernel hold what this snapshot says, for the first time."""
        await self._plane.start(self._ruleset)
        _tell_forgeable(Machine(), self.snapshot.machine)
        self.note_interfaces()
        self._note_networks()

    async def age(self) -> bool:
        """Put in force what time alone has changed; whether it was anything.

        What is left of a change that was broken off is undone, too. Costs nothing
        while no registration begins, ends, or has used up its grace.
        """
        if not self._broken_off and self._settled.holds(self._clock()):
            return False
        return await self.change(lambda snapshot: snapshot)

    async def change(self, successor: Callable[[Snapshot], Snapshot]) -> bool:
        """Put `successor` of the snapshot in force; whether the kernel changed.

        Verdicts that are decided on the old one meanwhile are dropped by the data
        plane if the new one spares them. Raises what the data plane raises.
        """
        async with self._turn:
            snapshot = successor(self.snapshot)
            # A million prefixes take a while to merge; the loop has a switch to hold,
            # and a stop does not wait for them.
            ruleset, settled = await in_thread(_held, snapshot, self._clock())
            differs = self._broken_off or ruleset != self._ruleset
            if differs:
                self._broken_off = True  # until all is through
                await self._plane.replace(ruleset)
            if _narrower(self.snapshot.config, snapshot.config):
                # Who is slowed for a reason that no longer holds is let go; whoever
                # it still holds for is recognised again.
                await self._plane.release(lambda _flow: True)
            self._ruleset, self._settled = ruleset, settled
            self._broken_off = False
            _tell_forgeable(self.snapshot.machine, snapshot.machine)
            self.snapshot = snapshot
            self.note_interfaces()
            self._pipeline.adopt(snapshot)
            self._note_networks()
            return differs

    def note_interfaces(self) -> None:
        """Tell, once, what was attached, let go, or left alone."""
        attached, alone = self.attached, self.left_alone
        for one in alone:
            if one not in self._left_alone:
                _log.warning("%s", one)
        if attached != self._attached:
            old, new = set(self._attached), set(attached)
            _log.info(
                "attached to %s (new: %s; let go: %s)",
                counted(attached),
                few(sorted(new - old)),
                few(sorted(old - new)),
            )
        self._attached, self._left_alone = attached, alone

    def _note_networks(self) -> None:
        """Tell, once, of subscribers that a registration leaves alone together."""
        found = self.snapshot.spared_networks(self._ruleset.spared)
        for network in found:
            if network not in self.spared_networks:
                _log.warning("%s", tell_spared(network))
        self.spared_networks = found


def tell_spared(network: IPNetwork) -> str:
    """What it means that the registry covers a network of subscribers."""
    return (
        f"{network}: the registry covers this network on the subscriber side, so that"
        " nobody in it is ever slowed; see whether that is meant"
    )


class _Settled(NamedTuple):
    """From when until when time alone changes nothing of what the kernel holds."""

    since: float
    until: float

    def holds(self, now: When) -> bool:
        return not isinstance(now, Span) and self.since <= now < self.until


def _held(snapshot: Snapshot, now: When) -> tuple[Ruleset, _Settled]:
    """What the kernel should hold, and for how long: in doubt of the clock, no time."""
    change = snapshot.registry.next_change(now)
    since, latest = span_of(now)
    until = NEVER if change is None else change
    return snapshot.ruleset(now), _Settled(since, until if since == latest else since)


def _narrower(old: Config, new: Config) -> bool:
    """Whether verdicts of the old configuration may not be the new one's."""
    return (
        old.tunnels != new.tunnels
        or old.gateway.enforce_share > new.gateway.enforce_share
        or old.gateway.reverse_path != new.gateway.reverse_path
    )


def _tell_forgeable(old: Machine, new: Machine) -> None:
    """Log, once, what keeps vpngate from acting."""
    for problem in new.forgeable:
        if problem not in old.forgeable:
            _log.warning("%s", problem)


def counted(interfaces: Sequence[str]) -> str:
    """Interfaces in one line: which, if they are few."""
    if len(interfaces) > _FEW:
        return f"{len(interfaces)} interfaces"
    return few(interfaces)


def few(names: Sequence[str]) -> str:
    """Some names in one line."""
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return (", ".join(names[:_FEW]) or "none") + more
