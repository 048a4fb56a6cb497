# SPDX-License-Identifier: GPL-2.0-or-later
"""How often something may be asked.

Knows when it was asked; does not know what it is.
"""

import math
import time
from collections import deque
from collections.abc import Callable

from vpngate.errors import Problem, Refused

MOST = 10
STRETCH = 3600.0  # seconds


class Ration:
    """`most` in any `stretch` of seconds, by a clock that never jumps."""

    def __init__(
        self,
        most: int = MOST,
        stretch: float = STRETCH,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._stretch = stretch
        self._clock = clock
        self._taken: deque[float] = deque()

    def take(self, what: str) -> None:
        """Count one; Refused, naming `what`, if there were as many as may be."""
        now = self._clock()
        while self._taken and now - self._taken[0] >= self._stretch:
            self._taken.popleft()
        if len(self._taken) >= self._most:
            minutes = math.ceil((self._taken[0] + self._stretch - now) / 60)
            asked = f"was asked for {self._most} times in the last hour"
            raise Refused(Problem(what, asked, f"again in {minutes} min"))
        self._taken.append(now)
