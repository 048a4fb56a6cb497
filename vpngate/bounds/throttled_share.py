# SPDX-License-Identifier: GPL-2.0-or-later
"""The share of all traffic that passed by the slower class.

Knows how much traffic makes a share worth anything, and what a few subscribers
may pass there; does not know how either is counted.

A gateway at night may carry a few tunnels and nothing else, and somebody with several
addresses counts as several subscribers. So that nobody stops vpngate alone, as much as
some subscribers may pass, both ways and at the class's full rate, is left out of what
counts as throttled.
"""

from vpngate.bounds.window import Window

_OVER = 600.0  # seconds
_LEAST = 10e6 / 8 * _OVER  # bytes: of all traffic, from 10 Mbit/s on
_DIRECTIONS = 2
_LEFT_OUT = 16  # subscribers


class ThrottledShare:
    """What passed since it is looked at, at most in the last ten minutes."""

    def __init__(self) -> None:
        self._passed = Window(_OVER, 3)
        self._last: tuple[float, int, int] | None = None

    def look(
        self, at: float, throttled: int, everything: int, *, rate: int, most: float
    ) -> str:
        """What is beyond the bound of `most` (0 to 1); empty: it holds.

        throttled   bytes that have left the slower class, since whenever
        everything  bytes that have come to the hooks, since whenever
        rate        bit/s of a subscriber and direction
        """
        before, self._last = self._last, (at, throttled, everything)
        if before is None:
            return ""
        since, *were = before
        grown = (
            max(0, now - was)
            for now, was in zip((throttled, everything), were, strict=True)
        )
        self._passed.add(at, *grown, _LEFT_OUT * _DIRECTIONS * rate / 8 * (at - since))
        slow, whole, left_out = self._passed.sums(at)
        counted = slow - left_out
        if whole < _LEAST or counted < most * whole:
            return ""
        return (
            f"{slow / whole:.0%} of all traffic was throttled"
            f" ({whole / 1e6:.0f} MB within ten minutes)"
        )
