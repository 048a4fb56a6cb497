# SPDX-License-Identifier: GPL-2.0-or-later
"""Until when programs slow: a time in memory that they read at each packet.

Knows that any thread may end it at any moment, and that it stays ended until what was
to be done then has been done in its turn; does not know what that is, nor where the
time stands. One thread alone may arm and disarm.
"""

from collections.abc import Callable
from functools import wraps


class ArmedTime:
    """`show` has programs read a time: nanoseconds, in one piece.

    `shown` is what they read now: one of them may have ended it.
    """

    def __init__(self, show: Callable[[int], None], shown: Callable[[], int]) -> None:
        self._show = show
        self._shown = shown
        self._until = 0
        self._held: set[object] = set()  # for whose sake nothing is slowed meanwhile

    def arm(self, until: int) -> None:
        """Let them slow until then, unless it is held off."""
        self._until = until
        self._tell()

    def disarm(self) -> None:
        """Slow nothing, until it is armed again."""
        self._until = 0
        self._show(0)

    def held_off(self, work: Callable[[], None]) -> Callable[[], None]:
        """Slow nothing from now on, until what is returned has been done in its turn.

        That is `work`; what it leaves armed is on again then, unless it had been ended
        by a program. In any thread.
        """
        sake = object()
        ended = not self._held and not self._shown()
        self._held.add(sake)
        self._show(0)

        @wraps(work)
        def turning_off() -> None:
            try:
                work()
            finally:
                self._held.discard(sake)
                if not ended:
                    self._tell()

        return turning_off

    def _tell(self) -> None:
        if self._held:
            return
        self._show(self._until)
        if self._held:  # since then, by another thread
            self._show(0)
