# SPDX-License-Identifier: GPL-2.0-or-later
"""A prefix tree of one family, in arrays of numbers.

Knows which prefixes enclose which, and finds those that enclose an address; does
not know what a prefix stands for, or since when.

The prefixes lie sorted by network and length: that is the order in which a walk
from the root would meet them (preorder), so the tree needs no links to children.
Each has the row of its parent, the nearest prefix around it, and the row where the
prefixes inside it end. Equal prefixes nest in the order they were given.
"""

from array import array
from bisect import bisect_left, bisect_right

import numpy as np
from numpy.typing import NDArray

from vpngate.packets import Family
from vpngate.registry.intervals import Bounds, Flags, Rows, keys
from vpngate.registry.prefixes import host_masks

Places = NDArray[np.int64]

_HALF = 64  # bits in one of the two numbers that make an IPv6 address
_HALF_MASK = (1 << _HALF) - 1


class PrefixTree:
    """Prefixes of one family; immutable."""

    def __init__(
        self, family: Family, networks: Rows, lengths: NDArray[np.uint8]
    ) -> None:
        """From networks (n, width) and lengths already in the order of `preorder`."""
        self.family = family
        self._bits = 8 * family.width
        self._shifts = array("B", (self._bits - lengths).astype(np.uint8).tobytes())
        self._low: array[int] | None = None
        if family is Family.IPV4:
            self._high = array("I", _numbers(networks, ">u4", "=u4"))
        else:
            self._high = array("Q", _numbers(networks[:, :8], ">u8", "=u8"))
            self._low = array("Q", _numbers(networks[:, 8:], ">u8", "=u8"))
        last = networks | host_masks(family)[lengths]
        ends = np.searchsorted(keys(networks), keys(last), side="right")
        self._ends = ends.astype(np.uint32)
        self._parents = array("i", _parents(ends).astype("=i4").tobytes())

    def __len__(self) -> int:
        return len(self._shifts)

    def longest(self, address: bytes) -> int:
        """The row of the longest prefix around an address; -1 if there is none."""
        number = int.from_bytes(address, "big")
        high, low, parents, shifts = self._high, self._low, self._parents, self._shifts
        # The last row whose network is not above the address: what encloses the
        # address is this row or around it. Two agree in a prefix if their difference
        # vanishes when the host part is shifted out.
        if low is None:
            row = bisect_right(high, number) - 1
            while row >= 0 and (number ^ high[row]) >> shifts[row]:
                row = parents[row]
            return row
        row = bisect_right(high, number >> _HALF) - 1
        if row >= 0 and high[row] == number >> _HALF:
            start = bisect_left(high, high[row], 0, row)
            row = bisect_right(low, number & _HALF_MASK, start, row + 1) - 1
        while row >= 0 and (number ^ (high[row] << _HALF | low[row])) >> shifts[row]:
            row = parents[row]
        return row

    def parent(self, row: int) -> int:
        """The row of the next prefix around a row's; -1 if there is none."""
        return self._parents[row]

    def length(self, row: int) -> int:
        """The prefix length of a row."""
        return self._bits - self._shifts[row]

    @property
    def networks(self) -> Rows:
        """All networks, a row each."""
        if self._low is None:
            return _octets(self._high, "=u4", ">u4")
        return np.hstack(
            (_octets(self._high, "=u8", ">u8"), _octets(self._low, "=u8", ">u8"))
        )

    @property
    def lengths(self) -> NDArray[np.uint8]:
        """All prefix lengths."""
        return (self._bits - np.frombuffer(self._shifts, np.uint8)).astype(np.uint8)

    @property
    def bounds(self) -> Bounds:
        """The first and the last address of each prefix."""
        first = self.networks
        return Bounds(first, first | host_masks(self.family)[self.lengths])

    def outermost(self, chosen: Flags) -> Flags:
        """Those of the chosen rows that lie inside no other chosen row."""
        reach = np.where(chosen, self._ends, 0)
        np.maximum.accumulate(reach, out=reach)
        result = chosen.copy()
        result[1:] &= reach[:-1] <= np.arange(1, len(chosen))
        return result


def preorder(prefixes: Rows) -> Places:
    """The places of prefixes in the order of a tree; equal ones stay in theirs.

    A prefix is its network and then its length: shorter ones come before those in
    them.
    """
    order: Places = np.argsort(keys(prefixes), kind="stable")
    return order


def _parents(ends: Places) -> Places:
    """Each row's parent (-1: none), from where each row's inside ends.

    Each row starts at the one before it. A candidate that ends before the row is a
    sibling, or lies inside one: its own candidate is as far back or nearer the root,
    and never beyond the row's parent. So candidates jump in doubling steps.
    """
    rows = np.arange(len(ends))
    reach = np.maximum.accumulate(ends)
    candidates = rows - 1
    # Nothing before these reaches them.
    candidates[1:][reach[:-1] <= rows[1:]] = -1
    open_rows = rows[candidates >= 0]
    while True:
        beside = ends[candidates[open_rows]] <= open_rows
        open_rows = open_rows[beside]
        if not len(open_rows):
            return candidates
        candidates[open_rows] = candidates[candidates[open_rows]]


def _numbers(rows: Rows, stored: str, native: str) -> bytes:
    return np.ascontiguousarray(rows).view(stored).astype(native).tobytes()


def _octets(numbers: "array[int]", native: str, stored: str) -> Rows:
    values = np.frombuffer(numbers, dtype=native).astype(stored)
    return values.view(np.uint8).reshape(-1, numbers.itemsize)
