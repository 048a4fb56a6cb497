# SPDX-License-Identifier: GPL-2.0-or-later
"""Intervals as bytes, to hand them from one process to another.

Knows the form, and takes nothing on trust that it reads: what is not exactly what
`pack` makes of some set is no set. Does not know who hands what to whom.

    8 bytes  which form this is
    2 x 8    how many intervals of IPv4 and of IPv6, the least significant byte first
    then     first addresses, last addresses; those of IPv4 before those of IPv6
"""

import struct
from collections.abc import Iterator

import numpy as np

from vpngate.packets import Family
from vpngate.prefixes.intervals import Bounds, Intervals
from vpngate.prefixes.rows import Rows, following, keys, rows_of

STRETCH = 1 << 16  # intervals
_FORM = b"vpngate1"
_HEAD = struct.Struct("<8sQQ")


def size_of(intervals: int) -> int:
    """The most bytes that so many intervals take."""
    return _HEAD.size + 2 * Family.IPV6.width * intervals


def pack(intervals: Intervals) -> bytes:
    """The set as bytes."""
    counts = (len(intervals.of(family)) for family in Family)
    parts = [_HEAD.pack(_FORM, *counts)]
    for family in Family:
        parts += [rows.tobytes() for rows in intervals.of(family)]
    return b"".join(parts)


def unpack(data: bytes | bytearray) -> Intervals:
    """The set that bytes hold, in their memory; ValueError if they hold none."""
    if len(data) < _HEAD.size:
        raise ValueError("is too short for intervals")
    form, *counts = _HEAD.unpack_from(data)
    if form != _FORM:
        raise ValueError("holds no intervals, or those of another version")
    wanted = sum(2 * f.width * n for f, n in zip(Family, counts, strict=True))
    if len(data) - _HEAD.size != wanted:
        raise ValueError("has not as many intervals as it says")
    ipv4, ipv6 = _bounds(memoryview(data)[_HEAD.size :], counts)
    if not all(map(_is_orderly, (ipv4, ipv6))):
        raise ValueError("has intervals that are out of order, or meet")
    return Intervals(*ipv4, *ipv6)


def _bounds(data: memoryview, counts: list[int]) -> Iterator[Bounds]:
    for family, count in zip(Family, counts, strict=True):
        width = family.width * count
        first, last, data = data[:width], data[width : 2 * width], data[2 * width :]
        yield Bounds(rows_of(first, family), rows_of(last, family))


def _is_orderly(bounds: Bounds) -> bool:
    """Whether each begins beyond the next address after the one before.

    A stretch at a time: one comparison of millions would keep all threads waiting.
    """
    first, last = bounds
    return all(
        _is_orderly_stretch(first[start:end], last[start:end])
        for start in range(0, len(bounds), STRETCH)
        for end in [start + STRETCH + 1]  # with the next one's first
    )


def _is_orderly_stretch(first: Rows, last: Rows) -> bool:
    beyond, none_left = following(last[:-1])
    apart = (keys(beyond) < keys(first[1:])) & ~none_left
    return bool(np.all(keys(first) <= keys(last)) and np.all(apart))
