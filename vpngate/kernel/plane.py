# SPDX-License-Identifier: GPL-2.0-or-later
"""The data plane as the daemon sees it: a small interface with two implementations.

Knows what can be asked of the kernel; does not know netlink (the live twin,
`live.py`) nor how to pretend (the dry-run twin, `dryrun.py`). Every method is a
coroutine; changes are made one at a time, each in one atomic transaction.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from vpngate.policy import Throttle
from vpngate.ruleset import Ruleset


@dataclass(frozen=True, slots=True)
class Counters:
    """Totals since the data plane was started, by label of the metric."""

    throttled_packets: dict[str, int]  # by direction
    throttled_bytes: dict[str, int]  # by direction
    dropped_packets: dict[str, int]  # by direction: what HTB dropped
    spared_packets: dict[str, int]  # by family
    throttled_flows: dict[str, int]  # by family, now
    buckets_shared: int  # subscribers that had to share a bucket, now


class DataPlane(Protocol):
    """What the kernel does for vpngate.

    start      take the table (TableTaken if somebody owns it) and install `ruleset`
    replace    apply the difference to another ruleset in one transaction, and in it
               delete each verdict with an end inside the new spared set
    throttle   add verdicts (those already there are refreshed); one with an end in
               the spared set of this moment is dropped: it was decided on an older
               registry, and only here, where changes are in order, is that certain
    release    end the verdicts that the predicate picks; returns how many
    rearm      extend the dead man's time by `Ruleset.deadman`
    disarm     stop throttling at once, keep everything else
    counters   current totals
    verify     read back and compare; returns what was repaired, by metric label
    stop       leave nothing behind, in the order that blocks no packet
    """

    async def start(self, ruleset: Ruleset) -> None: ...
    async def replace(self, ruleset: Ruleset) -> None: ...
    async def throttle(self, flows: Sequence[Throttle]) -> None: ...
    async def release(self, chosen: Callable[[Throttle], bool]) -> int: ...
    async def rearm(self) -> None: ...
    async def disarm(self) -> None: ...
    async def counters(self) -> Counters: ...
    async def verify(self) -> Sequence[str]: ...
    async def stop(self) -> None: ...
