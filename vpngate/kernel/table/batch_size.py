# SPDX-License-Identifier: GPL-2.0-or-later
"""How many intervals one transaction takes, learnt from how long the last ones took.

Knows that a transaction holds the kernel's commit lock, and that re-arming and
verdicts wait for it; does not know netlink. A small step costs, too: at each the
kernel goes through the whole set again. So machines and kernels differ in what is a
good size, and the same machine does while it is busy.
"""

FIRST = 50_000  # intervals
LEAST, MOST = 10_000, 200_000
HOLD = 0.5  # seconds that a transaction should hold the lock for


class BatchSize:
    """The size of the next transaction, in intervals."""

    def __init__(self) -> None:
        self.size = FIRST

    def took(self, intervals: int, seconds: float) -> None:
        """Learn from a transaction of at least half the size that was asked for.

        What is left over at the end of a set says little about a whole step. No step
        is more than twice as large as the one before it.
        """
        if intervals >= self.size // 2:
            fitting = intervals * HOLD / max(seconds, 1e-6)
            self.size = int(min(max(fitting, LEAST), 2 * self.size, MOST))
