# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel is believed to hold of the snapshot in force.

Knows what differs from one snapshot to the next for the kernel, what of it can be had
at once, and that a change that was broken off leaves doubt; does not know why anything
changes, nor what the data plane does about it.
"""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from vpngate.daemon.threads import in_thread
from vpngate.kernel.plane import DataPlane
from vpngate.policy import Throttle
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
    moment: When  # by which it was told who is registered
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
        self._told = math.inf  # since when it is settled what the kernel should have

    @property
    def spared(self) -> Intervals:
        """Whom the registry spares, as the kernel has it."""
        return self._held.ruleset.spared

    def spared_by(self, snapshot: Snapshot) -> Intervals | None:
        """Whom a snapshot's registry spares now, as the kernel has it; from any thread.

        None, where it was last told of another registry, or at another time.
        """
        held = self._held
        same = held.snapshot.registry is snapshot.registry
        if same and held.is_settled(self._clock()):
            return held.ruleset.spared
        return None

    @property
    def settled(self) -> float:
        """Since when the kernel has not been told of others to spare; inf: right now.

        Seconds of a clock that never jumps.
        """
        return math.inf if self._broken_off else self._told

    def should_spare(self, address: bytes) -> bool:
        """Whether the kernel was told to leave an address alone.

        It was told intervals; the prefix tree that these were made of is asked.
        """
        held = self._held
        found = held.snapshot.registry.lookup(address, held.moment)
        protected = self._protected
        return found is not None or (
            protected is not None and protected.contains(address)
        )

    async def install(self, snapshot: Snapshot) -> None:
        """Have the kernel hold what a snapshot says, for the first time."""
        self._held = await in_thread(_held, snapshot, self._clock())
        protected = snapshot.protected
        await self._plane.start(self._held.ruleset, protected)
        self._protected = protected
        self._told = time.monotonic()

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
        if let_go_of(self._held.snapshot, snapshot) is not None:
            self._broken_off = True
            await self.release(self._held.snapshot, snapshot)
        self._held = held
        self._told = time.monotonic()
        self._broken_off = False
        return differs

    async def release(self, old: Snapshot, new: Snapshot) -> None:
        """End the verdicts of one snapshot that another has no reason for."""
        let_go = let_go_of(old, new)
        if let_go is not None:
            await self._plane.release(let_go)

    async def release_unchosen(self, snapshot: Snapshot) -> None:
        """End the verdicts on those that are not of a snapshot's share."""
        await self._plane.release(lambda flow: not snapshot.chooses(flow.bucket))

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
        self._told = math.inf
        try:
            await self._plane.protect(protected)
        except BaseException:
            if self._protected is protected:
                self._protected = None
            raise
        finally:
            self._told = time.monotonic()

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
    return _Held(snapshot, snapshot.ruleset(now, spared), now, since, until)


def let_go_of(old: Snapshot, new: Snapshot) -> Callable[[Throttle], bool] | None:
    """Who is slowed for a reason that no longer holds; None where every one does.

    Where it cannot be told, all are: whoever it still holds for is recognised again.
    """
    if (
        old.config.tunnels != new.config.tunnels
        or old.config.gateway.reverse_path != new.config.gateway.reverse_path
    ):
        return lambda _flow: True
    if fewer_chosen(old, new):
        return lambda flow: not new.chooses(flow.bucket)
    return None


def fewer_chosen(old: Snapshot, new: Snapshot) -> bool:
    """Whether somebody of the old share is not of the new one."""
    return old.stance.share > new.stance.share or old.share_key != new.share_key
