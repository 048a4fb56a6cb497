# SPDX-License-Identifier: GPL-2.0-or-later
"""The dead man's switch: until when rules throttle, and when they must not.

Knows how long the switch was armed for, and for whose sake it is kept off; does not
know what broke, what changes, nor who lives. One thread alone may use it.
"""

import time

from vpngate.kernel.table.owned import OwnedTable

BROKEN = "the way to the slow class is broken"
ENDING = "verdicts wait to be ended that mean nothing any more"

_SHORTEST = 0.01  # seconds: an element whose timeout is nothing has none


class Switch:
    """The switch of one table, off to begin with."""

    def __init__(self, table: OwnedTable) -> None:
        self._table = table
        self._kept_off: set[object] = set()  # for whose sake
        self._until = 0.0  # by a clock that never jumps

    def is_kept_off(self, sake: object) -> bool:
        """Whether it is for that sake, among others."""
        return sake in self._kept_off

    def arm(self, seconds: float) -> bool:
        """On for so long from now; whether it is, and not kept off."""
        seconds = max(seconds, _SHORTEST)
        self._until = time.monotonic() + seconds
        if not self._kept_off:
            self._table.arm(seconds)
        return not self._kept_off

    def shorten(self, seconds: float) -> None:
        """On for no longer than that from now."""
        if self._until - time.monotonic() > seconds:
            self.arm(seconds)

    def disarm(self) -> None:
        """Off at once."""
        self._until = 0.0
        self._table.disarm()

    def keep_off(self, sake: object) -> None:
        """Off at once, and kept off until `let`."""
        self._kept_off.add(sake)
        self._table.disarm()

    def let(self, sake: object, *, wanted: bool) -> None:
        """No longer kept off for that sake.

        On for what is left of its time, if that is `wanted` and nothing else keeps it.
        """
        if sake in self._kept_off:
            self._kept_off.discard(sake)
            left = self._until - time.monotonic()
            if wanted and left > 0 and not self._kept_off:
                self._table.arm(left)
