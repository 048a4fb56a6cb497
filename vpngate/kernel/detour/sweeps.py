# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of many verdicts are to be ended, found out a few at a time.

Knows what has not been looked at and what was chosen; does not know how a verdict is
ended.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from vpngate.kernel.detour.verdicts import FlowId, identity
from vpngate.packets import Family
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals
from vpngate.prefixes.rows import Flags, rows_of

Choice = Callable[[Sequence[Throttle]], Sequence[bool] | Flags]


class Sweep:
    """The verdicts of one moment; those that `choose` picks are to be ended.

    picked tells how many were, so far
    """

    def __init__(self, keys: Iterable[FlowId], choose: Choice) -> None:
        self.picked = 0
        self.left = deque(keys)
        self.chosen: deque[FlowId] = deque()
        self.stubborn: deque[FlowId] = deque()  # the kernel has them otherwise
        self._choose = choose

    @property
    def done(self) -> bool:
        """Whether all have been looked at, and those that were chosen have ended."""
        return not (self.left or self.chosen or self.stubborn)

    def choose(self, flows: Sequence[Throttle]) -> None:
        """Choose among a few."""
        picks = zip(flows, self._choose(flows), strict=True)
        few = [identity(flow) for flow, picked in picks if picked]
        self.chosen.extend(few)
        self.picked += len(few)


def taken(which: deque[FlowId], number: int) -> list[FlowId]:
    """A few of those, or what is left; they are taken out."""
    return [which.popleft() for _ in range(min(number, len(which)))]


def everything(flows: Sequence[Throttle]) -> Sequence[bool]:
    """Choose all."""
    return [True] * len(flows)


def ends_among(flows: Sequence[Throttle], addresses: Intervals) -> Flags:
    """For each flow, whether either of its ends is among the addresses."""
    among = np.zeros(len(flows), dtype=np.bool_)
    for family in Family:
        mine = [n for n, flow in enumerate(flows) if flow.subscriber.family is family]
        for ends in (
            b"".join(flows[n].subscriber.address for n in mine),
            b"".join(flows[n].remote.address for n in mine),
        ):
            among[mine] |= addresses.contains_each(rows_of(ends, family))
    return among
