# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets of spared addresses that were met where packets are about to be slowed.

Knows that some are met after any change of whom is spared, until the verdicts on them
have ended, and that those are as they should be; does not know who is spared.

Nobody outside brings one about: a verdict is only given to a flow of which neither end
is spared, and what is met here has one all the same.
"""

from vpngate.bounds.window import Window

SETTLING = 5.0  # seconds after a change
_OVER = 60.0  # seconds


class SparedPackets:
    """How many were met in the last minute, but for those after a change."""

    def __init__(self) -> None:
        self._met = Window(_OVER, 1)
        self._last: tuple[float, int] | None = None

    def look(self, at: float, total: int, *, changed: float, most: int) -> str:
        """What is beyond the bound of `most` packets in a minute; empty: it holds.

        total    packets since whenever
        changed  when a change of whom is spared was last under way
        """
        before, self._last = self._last, (at, total)
        if before is not None and before[0] - changed >= SETTLING:
            self._met.add(at, max(0, total - before[1]))
        (packets,) = self._met.sums(at)
        if packets < most:
            return ""
        return f"{packets:.0f} packets of spared addresses had a verdict, in a minute"
