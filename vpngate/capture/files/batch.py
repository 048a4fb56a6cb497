# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames that libpcap has dumped, many of them in one piece of memory.

Knows how a dump is written, and how to find one frame in it, or a field of all of them
at once; does not know what a frame holds. numpy is loaded for the latter alone.
"""

from functools import cached_property
from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy import float64, int64, uint8
    from numpy.typing import NDArray

_RECORD = Struct("=III4x")  # seconds, microseconds, bytes; of this machine's order
_SIZE = Struct("=8xI4x").unpack_from
_STAMP = 8  # bytes of a record's header that are its time
_MICROSECONDS = 1e6


class DumpedFrames:
    """The frames of a dump, from a place in it on, in order.

    `are_whole` unless the dump ends within one.
    """

    def __init__(self, dumped: bytes, at: int) -> None:
        self._dumped = dumped
        starts, end, header = [], len(dumped), _RECORD.size
        while at + header <= end:
            at += header
            starts.append(at)
            at += _SIZE(dumped, at - header)[0]
        self._starts = starts
        self._end = at
        self.are_whole = at == end

    def __len__(self) -> int:
        return len(self._starts)

    def frame(self, number: int) -> tuple[float, bytes]:
        """One of them, with its seconds since the epoch."""
        start = self._starts[number]
        seconds, micro, size = _RECORD.unpack_from(self._dumped, start - _RECORD.size)
        return seconds + micro / _MICROSECONDS, self._dumped[start : start + size]

    def sizes(self, first: int, last: int) -> "NDArray[int64]":
        """How many bytes each frame has, from one number to before another."""
        starts = self._all_starts
        sizes: NDArray[int64] = starts[first + 1 : last + 1] - starts[first:last]
        return sizes - _RECORD.size

    def times(self, first: int, last: int) -> "NDArray[float64]":
        """The seconds of each."""
        import numpy as np  # noqa: PLC0415 - few captures need it

        stamps = self.rows(first, last, -_RECORD.size, _STAMP).view(np.uint32)
        return stamps[:, 0] + stamps[:, 1] / _MICROSECONDS

    def rows(self, first: int, last: int, begin: int, size: int) -> "NDArray[uint8]":
        """So many bytes of each, a row a frame, beginning so far behind its start.

        Of a frame that is too short for them a row says nothing.
        """
        import numpy as np  # noqa: PLC0415 - few captures need it

        dumped = self._dumped.ljust(size, b"\0")
        places = len(dumped) - size + 1
        # Every run of so many bytes, wherever it begins; then those that are asked for.
        runs = np.ndarray(places, f"V{size}", dumped, strides=1)
        starts = np.minimum(self._all_starts[first:last] + begin, places - 1)
        return runs[starts].view(np.uint8).reshape(-1, size)

    @cached_property
    def _all_starts(self) -> "NDArray[int64]":
        """Where each frame begins, and where another one would after the last."""
        import numpy as np  # noqa: PLC0415 - few captures need it

        return np.array([*self._starts, self._end + _RECORD.size])
