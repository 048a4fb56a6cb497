# SPDX-License-Identifier: GPL-2.0-or-later
"""What both ends of a flow write down, for who looks at it while it goes on.

Knows the file that the ends and the onlooker have mapped: some counters, how much came
in each fiftieth of a second, and which numbers came. Does not know sockets. Standard
library alone, since the ends are started often and have nothing to wait for.
"""

import mmap
import struct
import time
from pathlib import Path
from typing import Self

SLOT = 0.02  # seconds; arrivals are counted in slots of this width
_HOURS = 12  # that a file has room for; it is sparse
_SLOTS = int(_HOURS * 3600 / SLOT)
_NUMBERS = _HOURS * 3600 * 150  # datagrams
_COUNTER = struct.Struct("=Q")
_SLOT = struct.Struct("=H")
_HEAD = 4096  # bytes
_SIZE = _HEAD + _SLOTS * _SLOT.size + _NUMBERS
_MOST = 0xFFFF  # a slot counts no further

_BEGUN, _SENT, _REFUSED, _CAME, _AGAIN, _RESENT, _BROKEN, _UNDER_WAY = range(0, 64, 8)


class Book:
    """A flow's file, mapped. Each counter is written by one end alone.

    sent       datagrams, or writes of as many bytes where the flow is a stream
    refused    of these, what the sender's own kernel would not take
    came       different ones that arrived
    again      those that arrived once more
    resent     segments that a stream had to send again, and was right to
    broken     times that a stream ended before its time
    under_way  bytes of a stream that its sender is not yet told have arrived
    """

    def __init__(self, path: Path, *, new: bool = False) -> None:
        with path.open("w+b" if new else "r+b") as file:
            if new:
                file.truncate(_SIZE)
            self._map = mmap.mmap(file.fileno(), _SIZE)
        if new:
            self._put(_BEGUN, time.monotonic_ns())
        self._begun = self._get(_BEGUN) / 1e9

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._map.close()

    def _get(self, at: int) -> int:
        number: int = _COUNTER.unpack_from(self._map, at)[0]
        return number

    def _put(self, at: int, value: int) -> None:
        _COUNTER.pack_into(self._map, at, value)

    @property
    def sent(self) -> int:
        return self._get(_SENT)

    @property
    def refused(self) -> int:
        return self._get(_REFUSED)

    @property
    def came(self) -> int:
        return self._get(_CAME)

    @property
    def resent(self) -> int:
        return self._get(_RESENT)

    @property
    def broken(self) -> int:
        return self._get(_BROKEN)

    @property
    def under_way(self) -> int:
        return self._get(_UNDER_WAY)

    def note_sent(self, count: int, refused: int = 0) -> None:
        self._put(_SENT, self.sent + count)
        if refused:
            self._put(_REFUSED, self.refused + refused)

    def note_resent(self, total: int) -> None:
        self._put(_RESENT, total)

    def note_broken(self) -> None:
        self._put(_BROKEN, self.broken + 1)

    def note_under_way(self, count: int) -> None:
        self._put(_UNDER_WAY, count)

    def note_number(self, number: int) -> None:
        """A datagram came."""
        at = _HEAD + _SLOTS * _SLOT.size + number
        if self._map[at]:
            self._put(_AGAIN, self._get(_AGAIN) + 1)
            return
        self._map[at] = 1
        self.note_came(1)

    def note_came(self, count: int) -> None:
        """So much of a stream came, or of what has no numbers."""
        self._put(_CAME, self.came + count)
        at = _HEAD + self._slot(time.monotonic()) * _SLOT.size
        before = _SLOT.unpack_from(self._map, at)[0]
        _SLOT.pack_into(self._map, at, min(_MOST, before + count))

    def _slot(self, when: float) -> int:
        return min(_SLOTS - 1, max(0, int((when - self._begun) / SLOT)))

    def missing(self, first: int, last: int) -> int:
        """How many of the datagrams from number `first` on, `last` excluded."""
        at = _HEAD + _SLOTS * _SLOT.size
        return (last - first) - self._map[at + first : at + last].count(1)

    def arrivals(self, begin: float, end: float) -> list[tuple[float, int]]:
        """When something came between two times of time.monotonic(), and how much."""
        first, last = self._slot(begin), self._slot(end)
        some = self._map[_HEAD + first * _SLOT.size : _HEAD + last * _SLOT.size]
        counts = memoryview(some).cast("H")
        return [
            (self._begun + (first + at) * SLOT, count)
            for at, count in enumerate(counts)
            if count
        ]
