# SPDX-License-Identifier: GPL-2.0-or-later
"""The dead man's switch: until when rules throttle, and when they must not.

Knows how long the switch was armed for, and that it stays off while the way to the
slow class is broken; does not know what broke it, nor who lives. One thread alone may
use it.
"""

import time

from vpngate.kernel.table.owned import OwnedTable


class Switch:
    """The switch of one table, off to begin with."""

    def __init__(self, table: OwnedTable) -> None:
        self._table = table
        self._broken = False
        self._until = 0.0  # by a clock that never jumps

    @property
    def broken(self) -> bool:
        """Whether it is kept off."""
        return self._broken

    def arm(self, seconds: float) -> bool:
        """On for so long from now; whether it is, and not kept off."""
        self._until = time.monotonic() + seconds
        if not self._broken:
            self._table.arm(seconds)
        return not self._broken

    def disarm(self) -> None:
        """Off at once."""
        self._until = 0.0
        self._table.disarm()

    def break_off(self) -> None:
        """Off at once, and kept off until `mended`."""
        self._broken = True
        self._table.disarm()

    def mended(self, *, wanted: bool) -> None:
        """No longer kept off; on for what is left of its time, if that is `wanted`."""
        if self._broken:
            self._broken = False
            left = self._until - time.monotonic()
            if wanted and left > 0:
                self._table.arm(left)
