# SPDX-License-Identifier: GPL-2.0-or-later
"""The data plane as the daemon sees it: a small interface with two implementations.

Knows what can be asked of the kernel; does not know netlink (the live twin,
`live.py`) nor how to pretend (the dry-run twin, `dryrun.py`). Every method is a
coroutine; changes are made one at a time. What is urgent waits for none of them:
it is in force within 100 ms, whatever goes on.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset

REPAIRS = ("ifb", "class", "hook", "spared")
NOBODY = Intervals.empty()


@dataclass(frozen=True, slots=True)
class Counters:
    """Totals since the data plane was started, by label of the metric."""

    traffic_packets: dict[str, int]  # by direction: all that crossed the hooks
    traffic_bytes: dict[str, int]  # by direction, as long as the hook sees them
    diverted_packets: dict[str, int]  # by direction: sent to where they wait
    throttled_packets: dict[str, int]  # by direction: what left its class
    throttled_bytes: dict[str, int]  # by direction
    dropped_packets: dict[str, int]  # by direction: what its class had no room for
    spared_packets: dict[str, int]  # by family
    witness_packets: dict[str, int]  # by family: sent to an ifb although spared
    reverse_path_failed: int  # candidates that came from where their source is not
    copies_held_back: int  # candidates beyond a limit on copies
    throttled_flows: dict[str, int]  # by family, now
    throttled_by_tunnel: dict[str, dict[str, int]]  # by family and tunnel, now
    throttled_subscribers: int  # of whom a verdict is in force, now
    buckets_shared: int  # subscribers that had to share a bucket, now
    verdicts_refused: int  # beyond `Ruleset.max_flows`: their flows are left alone


@dataclass(frozen=True, slots=True)
class Glance:
    """The few counts that are cheap to read, for whoever looks every second.

    at             when, in seconds of a clock that never jumps
    changed        when a change of whom is spared, or the ending of verdicts that
                   follows, was last under way, by that clock
    waiting        source and destination of a few packets that were sent to an ifb in
                   the last three seconds; to be looked up and forgotten
    differed       looks at which the kernel spared others than it should
    disagreements  so many in a row, of the latest such row; it may be over: whoever
                   looks every second would miss one that a look put an end to
    """

    at: float
    changed: float
    traffic_bytes: int
    throttled_bytes: int
    spared_packets: int
    witness_packets: int
    waiting: list[tuple[bytes, bytes]]
    differed: int
    disagreements: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison of all spared and protected intervals has shown, by family.

    compared   intervals that the kernel should have
    differing  those of them that it has not, or not with these ends
    surplus    intervals that it has beyond them; None where it does not tell (Linux
               before 6.16), or where others differ
    """

    compared: dict[str, int]
    differing: dict[str, int]
    surplus: dict[str, int | None]

    @property
    def equal(self) -> bool:
        """Whether nothing was found."""
        return not (any(self.differing.values()) or any(self.surplus.values()))


class DataPlane(Protocol):
    """What the kernel does for vpngate; errors are MachineFault or Refused.

    still_wanted  whether a verdict may be handed over at this moment: it was decided on
                  something that may have changed since; asked in any thread
    """

    still_wanted: Callable[[Throttle], bool]

    @property
    def refused(self) -> Mapping[str, str]:
        """Interfaces of the ruleset that the kernel will not hook, and why.

        They hold up nothing, and `verify` tries them again.
        """
        ...

    async def start(self, ruleset: Ruleset, protected: Intervals = NOBODY) -> None:
        """Take the table (TableTaken if somebody owns it) and install `ruleset`.

        `protected` is in force before anything can be throttled, which nothing is
        before the first `rearm`.
        """
        ...

    async def replace(self, ruleset: Ruleset) -> None:
        """Apply the difference to another ruleset; on an error nothing has changed.

        Whom it spares is left alone from one transaction on, which also turns to other
        rules; the verdicts on them are ended afterwards, step by step. One that only
        observes disarms at once, whatever else goes on. A dead man's time that is
        shorter than what is left counts from then on.
        """
        ...

    async def protect(self, addresses: Intervals) -> None:
        """Protect exactly these from now on, beside what the ruleset spares.

        Urgent: in force within 100 ms, also while a `replace` is under way, which
        takes nothing of it back. Verdicts with an end in them are ended afterwards,
        step by step. On an error what was protected still is.
        """
        ...

    async def throttle(self, flows: Sequence[Throttle]) -> None:
        """Add verdicts; those already there are refreshed.

        One with an end that is spared or protected at this moment is dropped: it was
        decided on something older, and only here, where changes are in order, is that
        certain. In observe mode all are.
        """
        ...

    async def withdraw(self, flows: Sequence[Throttle]) -> None:
        """End the verdicts on these flows; those that have none are passed over."""
        ...

    async def release(self, chosen: Callable[[Throttle], bool]) -> int:
        """End the verdicts that the predicate picks; returns how many."""
        ...

    async def slowed(self) -> Sequence[Throttle]:
        """The flows that have a verdict, as far as is known.

        The kernel ends one whose packets stay away, and is asked a while later.
        """
        ...

    async def slows(self, subscriber: bytes, bucket: bytes) -> bool:
        """Whether a flow of this address has a verdict, as far as is known.

        `bucket` is the subscriber's network, by which it is found.
        """
        ...

    async def rearm(self, at_most: float = math.inf) -> bool:
        """Extend the dead man's time by `Ruleset.deadman`; whether it is armed. Urgent.

        Where that is longer than `at_most` seconds, for these.
        It is not in observe mode, nor while an ifb is not what it should be.
        """
        ...

    async def disarm(self) -> None:
        """Stop throttling at once, keep everything else. Urgent."""
        ...

    async def counters(self) -> Counters:
        """Current totals."""
        ...

    async def glance(self) -> Glance:
        """Some of that, and more, at next to no cost. Totals are since the start."""
        ...

    async def verify(self) -> Sequence[str]:
        """Read back and compare; what was repaired, by metric label.

        The labels are `REPAIRS`.
        """
        ...

    async def compare(self) -> Comparison:
        """Compare every spared or protected interval with the kernel's; mends nothing.

        Takes a while, in short steps: changes go on meanwhile, and each step compares
        with what should be there at that moment. If anything differs the next
        `verify` puts it right.
        """
        ...

    async def stop(self) -> None:
        """Leave nothing behind, in the order that blocks no packet."""
        ...
