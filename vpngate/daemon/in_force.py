# SPDX-License-Identifier: GPL-2.0-or-later
"""The snapshot in force, and the one way to put another in its place.

Knows the order: the kernel first, then everyone who decides by it; one change at a
time. Does not know where a change comes from. If the kernel refuses, the old
snapshot stays in force everywhere.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from netaddr import IPNetwork

from vpngate.attachment.machine import Machine
from vpngate.config import Config
from vpngate.daemon.threads import in_thread
from vpngate.daemon.traffic.pipeline import Pipeline
from vpngate.kernel.plane import DataPlane
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset
from vpngate.snapshot import Snapshot, tell_spared
from vpngate.timekeeping.moments import NEVER, Span, When, span_of

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
        self.told: Callable[[], None] = lambda: None  # once another is in force
        self._ruleset, self._settled = _held(snapshot, clock())
        self._protected = snapshot.protected  # by the kernel, as it was last told
        self.spared_networks: list[IPNetwork] = []  # of subscribers, by the registry
        self._broken_off = False  # a change was: who knows what the kernel has of it

    async def install(self) -> None:
        """Have the kernel hold what this snapshot says, for the first time."""
        await self._plane.start(self._ruleset, self._protected)
        _tell(Machine(), self.snapshot.machine)
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
            unsure, protected = self._broken_off, snapshot.protected
            guards = unsure or protected != self._protected
            differs = unsure or ruleset != self._ruleset
            if differs or guards:
                self._broken_off = True  # until all is through
            if guards and (unsure or not self._protected.covers(protected)):
                # Before the rest: whoever was registered is protected without a gap.
                await self._protect(self._protected.union(protected))
            if differs:
                await self._plane.replace(ruleset)
            if guards and protected != self._protected:
                await self._protect(protected)
            if _narrower(self.snapshot.config, snapshot.config):
                # Who is slowed for a reason that no longer holds is let go; whoever
                # it still holds for is recognised again.
                await self._plane.release(lambda _flow: True)
            self._ruleset, self._settled = ruleset, settled
            self._broken_off = False
            _tell(self.snapshot.machine, snapshot.machine)
            self.snapshot = snapshot
            self._pipeline.adopt(snapshot)
            self.told()
            self._note_networks()
            return differs or guards

    async def _protect(self, protected: Intervals) -> None:
        await self._plane.protect(protected)
        self._protected = protected

    def _note_networks(self) -> None:
        """Tell, once, of subscribers that a registration leaves alone together."""
        found = self.snapshot.spared_networks(self._ruleset.spared)
        for network in found:
            if network not in self.spared_networks:
                _log.warning("%s", tell_spared(network))
        self.spared_networks = found


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


def _tell(old: Machine, new: Machine) -> None:
    """Log, once, what keeps vpngate from attaching or acting."""
    for one in new.left_alone:
        if one not in old.left_alone:
            _log.warning("%s", one)
    for problem in new.forgeable:
        if problem not in old.forgeable:
            _log.warning("%s", problem)
