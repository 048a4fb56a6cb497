# SPDX-License-Identifier: GPL-2.0-or-later
"""How much one step takes on, learnt from how long the last ones took.

Knows that re-arming and disarming wait for the step that is under way, and that a
transaction holds the kernel's commit lock; does not know what is done. A small step
costs, too. So machines and kernels differ in what is a good size, and the same
machine does while it is busy.
"""

HOLD = 0.012  # seconds that a step should take; twice as long is as much as may be


class Pace:
    """The size of the next step, in whatever it works on: no less, no more."""

    def __init__(self, first: int, least: int, most: int) -> None:
        self.size = first
        self._least = least
        self._most = most

    def took(self, number: int, seconds: float) -> None:
        """Learn from a step of at least half the size that was asked for.

        What is left over at the end says little about a whole step. No step is more
        than twice as large as the one before it.
        """
        if number >= self.size // 2:
            fitting = number * HOLD / max(seconds, 1e-6)
            self.size = int(min(max(fitting, self._least), 2 * self.size, self._most))
