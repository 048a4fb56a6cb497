# SPDX-License-Identifier: GPL-2.0-or-later
"""What came in over the last so many seconds, summed up.

Knows when amounts are too old to count; does not know what they are of.
"""

from collections import deque
from collections.abc import Sequence

# What comes in within this part of the window's length is one entry: so its memory is
# bounded, and what is in one leaves the window together.
_SLOTS = 120


class Window:
    """Sums over the last `seconds`, of as many amounts as each `add` has."""

    def __init__(self, seconds: float, amounts: int) -> None:
        self._seconds = seconds
        self._zero = (0.0,) * amounts
        self._slots: deque[tuple[float, Sequence[float]]] = deque()

    def add(self, at: float, *amounts: float) -> None:
        """These came in until that moment, which is later than the last one."""
        width = self._seconds / _SLOTS
        if self._slots and at - self._slots[-1][0] < width:
            since, old = self._slots.pop()
            amounts = tuple(map(sum, zip(old, amounts, strict=True)))
            at = since
        self._slots.append((at, amounts))

    def sums(self, now: float) -> tuple[float, ...]:
        """What has come in and still counts."""
        while self._slots and now - self._slots[0][0] > self._seconds:
            self._slots.popleft()
        columns = zip(self._zero, *(amounts for _, amounts in self._slots), strict=True)
        return tuple(map(sum, columns))
