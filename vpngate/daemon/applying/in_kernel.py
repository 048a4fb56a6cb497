# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel is believed to hold of the snapshot in force.

Knows what differs from one snapshot to the next for the kernel, what of it can be had
at once, and that a change that was broken off leaves doubt; does not know why anything
changes, nor what the data plane does about it.
"""

from collections.abc import Callable
from typing import NamedTuple

from vpngate.config import Config
from vpngate.daemon.threads import in_thread
from vpngate.kernel.plane import DataPlane
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset
from vpngate.snapshot import Snapshot
from vpngate.timekeeping.moments import NEVER, Span, When, span_of


class _Held(NamedTuple):
    """What the kernel should have of a snapshot, and while time alone changes nothing.

    since, until  seconds since 1970
    """

    snapshot: Snapshot
    ruleset: Ruleset
    since: float
    until: float

    def is_settled(self, now: When) -> bool:
        """Whether nobody's registration begins, ends or loses its grace by now."""
        return not isinstance(now, Span) and self.since <= now < self.until

    def holds(self, snapshot: Snapshot, now: When) -> bool:
        """Whether it is all the same for this snapshot at this time."""
        return snapshot is self.snapshot and self.is_settled(now)


class InKernel:
    """Brings snapshots to the data plane: whole in their order, what is urgent at once.

    `clock` tells what time it is.
    """

    def __init__(self, plane: DataPlane, clock: Callable[[], When]) -> None:
        self._plane = plane
        self._clock = clock
        self._held: _Held
        self._protected: Intervals | None = None  # as last told; None: who knows
        self._broken_off = False  # a change was: who knows what the kernel has of it

    @property
    def spared(self) -> Intervals:
        """Whom the registry spares, as the kernel has it."""
        return self._held.ruleset.spared

    async def install(self, snapshot: Snapshot) -> None:
        """Have the kernel hold what a snapshot says, for the first time."""
        self._held = await in_thread(_held, snapshot, self._clock())
        protected = snapshot.protected
        await self._plane.start(self._held.ruleset, protected)
        self._protected = protected

    async def bring(self, snapshot: Snapshot) -> bool:
        """Have the kernel hold what a snapshot says; whether anything was changed.

        What is left of a change that was broken off is undone, too. Costs nothing for
        the snapshot that it has while no registration begins, ends, or has used up its
        grace. Raises what the data plane raises.
        """
        if not self._broken_off and self._held.holds(snapshot, self._clock()):
            return False
        # A million prefixes take a while to merge; the loop has a switch to hold, and a
        # stop does not wait for them.
        held = await in_thread(_held, snapshot, self._clock(), self._held)
        differs = self._broken_off or held.ruleset != self._held.ruleset
        if differs:
            self._broken_off = True  # until all is through
            await self._plane.replace(held.ruleset)
        if _narrower(self._held.snapshot.config, snapshot.config):
            # Who is slowed for a reason that no longer holds is let go; whoever it
            # still holds for is recognised again.
            self._broken_off = True
            await self._plane.release(lambda _flow: True)
        self._held = held
        self._broken_off = False
        return differs

    def protects_others(self, snapshot: Snapshot) -> bool:
        """Whether the kernel was last told to protect others than a snapshot does."""
        return self._protected != snapshot.protected

    async def protect(self, snapshot: Snapshot) -> None:
        """Protect at once whom a snapshot does, and nobody else.

        Also while `bring` is under way. Of several that are asked for, the last counts.
        """
        if not self.protects_others(snapshot):
            return
        self._protected = protected = snapshot.protected
        try:
            await self._plane.protect(protected)
        except BaseException:
            if self._protected is protected:
                self._protected = None
            raise

    async def disarm(self) -> None:
        """Slow nobody from now on."""
        await self._plane.disarm()


def _held(snapshot: Snapshot, now: When, before: _Held | None = None) -> _Held:
    """What the kernel should hold now; whom it spares, as `before` if that is known.

    In doubt of the clock, nothing is settled for any time.
    """
    spared = None
    if before is not None and before.snapshot.registry is snapshot.registry:
        spared = before.ruleset.spared if before.is_settled(now) else None
    change = snapshot.registry.next_change(now)
    since, latest = span_of(now)
    until = NEVER if change is None else change
    until = until if since == latest else since
    return _Held(snapshot, snapshot.ruleset(now, spared), since, until)


def _narrower(old: Config, new: Config) -> bool:
    """Whether verdicts of the old configuration may not be the new one's."""
    return (
        old.tunnels != new.tunnels
        or old.gateway.enforce_share > new.gateway.enforce_share
        or old.gateway.reverse_path != new.gateway.reverse_path
    )
