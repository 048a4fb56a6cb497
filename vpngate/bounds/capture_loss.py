# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies of handshakes that were lost on their way to whoever reads them.

Knows which losses tell that the reader is too slow for what is ordinary; does not
know how copies are read or counted.

Anybody can have packets copied, as many as the limits on copies allow, and that may
be more than this machine reads: what is lost in a flood tells nothing of vpngate. So
it is looked at from one moment at which nothing is left to read to another, and counts
only where fewer copies were made meanwhile than any machine should read. What is lost
at such a rate is lost because nobody read for many seconds.

A loss shows with the next copy that is read, which may come long after: what is missing
before the first one behind such a moment was lost before it.

What a limit held back was never a copy, and neither is a forgery that the reverse
path gave away.
"""

from dataclasses import dataclass

from vpngate.bounds.window import Window

_OVER = 60.0  # seconds
# The machine that this was measured on (two cores) reads twenty times as many.
_ORDINARY = 2000  # copies a second
_SHORTEST = 1.0  # seconds: of less no rate is told
_LEAST = 100  # lost copies: of a few, a share tells nothing


@dataclass(slots=True)
class _Stretch:
    """The time between two moments at which nothing was left to read."""

    start: float
    end: float
    copies: int = 0  # read or lost
    lost: int = 0

    def add(self, copies: int, lost: int) -> None:
        self.copies += copies
        self.lost += lost

    @property
    def is_ordinary(self) -> bool:
        return self.copies <= _ORDINARY * max(self.end - self.start, _SHORTEST)


class CaptureLoss:
    """What was lost in the last minute, but for floods."""

    def __init__(self) -> None:
        self._idle: float | None = None  # when nothing was left to read at last
        self.forget()

    def forget(self) -> None:
        """Begin anew: also what was lost before this, and shows later, is forgotten."""
        self._window = Window(_OVER, 2)
        self._fresh = True
        self._stretch = _Stretch(self._idle or 0.0, self._idle or 0.0)

    def drained(self, at: float, *, read: int, before: int, among: int) -> None:
        """Nothing is left to read.

        read    copies since the last such moment
        before  copies that are missing before the first of them
        among   copies that are missing between them
        """
        if self._idle is None:
            self._idle = at
            self._stretch = _Stretch(at, at)
        if read:
            if self._fresh:
                before, self._fresh = 0, False
            self._stretch.add(before, before)
            over = at - self._stretch.start >= _SHORTEST
            if over or self._idle > self._stretch.end:
                self._close(at)
            self._stretch.end = at
            self._stretch.add(read + among, among)
        self._idle = at

    def look(self, now: float, *, most: float) -> str:
        """What is beyond the bound of `most` (0 to 1); empty: it holds."""
        copied, lost = self._window.sums(now)
        if lost < _LEAST or lost < most * copied:
            return ""
        return f"{lost / copied:.0%} of all copies were lost, in a minute"

    def _close(self, now: float) -> None:
        if self._stretch.is_ordinary:
            self._window.add(now, self._stretch.copies, self._stretch.lost)
        self._stretch = _Stretch(now if self._idle is None else self._idle, now)
