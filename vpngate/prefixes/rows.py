# SPDX-License-Identifier: GPL-2.0-or-later
"""Many addresses of one family as the rows of an array, in network byte order.

Knows how rows are compared, sorted, searched and counted on; does not know what the
addresses are the ends of.

Addresses are compared as byte strings of fixed width, in network byte order: that
is their numeric order, for IPv4 and for IPv6, in one piece of code. Where a million
are looked up in a million, native numbers are several times as fast.
"""

import numpy as np
from numpy.typing import NDArray

from vpngate.packets import Family

Rows = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Keys = NDArray[np.bytes_]
Digits = NDArray[np.uint32] | NDArray[np.uint64]


def rows_of(addresses: bytes | memoryview, family: Family) -> Rows:
    """Addresses one after the other, as rows."""
    return np.frombuffer(addresses, dtype=np.uint8).reshape(-1, family.width)


def keys(rows: Rows) -> Keys:
    """Rows as byte strings: they compare, sort and search as the addresses do."""
    view: Keys = np.ascontiguousarray(rows).view(f"S{rows.shape[1]}").ravel()
    return view


def digits(rows: Rows) -> list[Digits]:
    """Rows as columns of native numbers, the most significant first: 1 x 32 or 2 x 64.

    They compare several times as fast as byte strings.
    """
    wire, native = (">u4", np.uint32) if rows.shape[1] == 4 else (">u8", np.uint64)  # noqa: PLR2004  # the width of IPv4
    columns = np.ascontiguousarray(rows).view(wire)
    return [column.astype(native) for column in columns.T]


def places(ordered: Rows, wanted: Rows) -> NDArray[np.intp]:
    """Returns for each wanted row the index of the first sorted row not below it.

    For IPv6 the upper 64 bits are searched first, and the lower ones only where
    several rows share the upper ones.
    """
    upper, *lower = digits(ordered)
    upper_wanted, *lower_wanted = digits(wanted)
    place: NDArray[np.intp] = np.searchsorted(upper, upper_wanted)
    if lower and len(ordered):
        found = np.minimum(place, len(ordered) - 1)
        crowded = (upper[found] == upper_wanted) & (lower[0][found] < lower_wanted[0])
        place[crowded] = np.searchsorted(keys(ordered), keys(wanted[crowded]))
    return place


def sort_rows(rows: Rows) -> Rows:
    """Rows in ascending order."""
    ordered: Rows = np.sort(keys(rows)).view(np.uint8).reshape(rows.shape)
    return ordered


def following(rows: Rows) -> tuple[Rows, Flags]:
    """Returns the address after each one, and flags where it wrapped around to zero."""
    result = rows.copy()
    carry = np.ones(len(rows), dtype=np.bool_)
    for column in reversed(range(rows.shape[1])):
        result[:, column] += carry
        carry &= result[:, column] == 0
    return result, carry


def preceding(rows: Rows) -> Rows:
    """Returns the address before each one; before zero comes the highest."""
    result = rows.copy()
    borrow = np.ones(len(rows), dtype=np.bool_)
    for column in reversed(range(rows.shape[1])):
        result[:, column] -= borrow
        borrow &= result[:, column] == 0xFF  # noqa: PLR2004  # an octet that wrapped
    return result
