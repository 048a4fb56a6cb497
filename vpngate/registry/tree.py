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
from collections.abc import Iterator

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

    __slots__ = ("_ends", "_high", "_lengths", "_low", "_parents", "family")

    def __init__(
        self, family: Family, networks: Rows, lengths: NDArray[np.uint8]
    ) -> None:
        """From networks (n, width) and lengths already in the order of `preorder`."""
        self.family = family
        self._lengths = array("B", lengths.tobytes())
        self._low = array("Q")
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
        return len(self._lengths)

    def matches(self, address: bytes) -> Iterator[int]:
        """Rows of all prefixes that enclose an address, the longest first."""
        number = int.from_bytes(address, "big")
        row = self._last_not_above(number)
        bits = 8 * self.family.width
        parents, lengths = self._parents, self._lengths
        while row >= 0:
            # A prefix encloses the address if they agree in its first bits.
            if not (number ^ self._number(row)) >> (bits - lengths[row]):
                yield row
            row = parents[row]

    def _last_not_above(self, number: int) -> int:
        """The last row whose network is not above an address; -1 if all are.

        All prefixes that enclose the address are this row or around it.
        """
        if self.family is Family.IPV4:
            return bisect_right(self._high, number) - 1
        high = number >> _HALF
        end = bisect_right(self._high, high)
        if end and self._high[end - 1] == high:
            start = bisect_left(self._high, high, 0, end)
            end = bisect_right(self._low, number & _HALF_MASK, start, end)
        return end - 1

    def _number(self, row: int) -> int:
        if self.family is Family.IPV4:
            return self._high[row]
        return self._high[row] << _HALF | self._low[row]

    def network(self, row: int) -> bytes:
        """The network of a row, in network byte order."""
        return self._number(row).to_bytes(self.family.width, "big")

    def length(self, row: int) -> int:
        """The prefix length of a row."""
        return self._lengths[row]

    @property
    def networks(self) -> Rows:
        """All networks, a row each."""
        if self.family is Family.IPV4:
            return _octets(self._high, "=u4", ">u4")
        return np.hstack(
            (_octets(self._high, "=u8", ">u8"), _octets(self._low, "=u8", ">u8"))
        )

    @property
    def lengths(self) -> NDArray[np.uint8]:
        """All prefix lengths."""
        return np.frombuffer(self._lengths, dtype=np.uint8)

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


def preorder(networks: Rows, lengths: NDArray[np.uint8]) -> Places:
    """The places of prefixes in the order of a tree; equal ones stay in theirs."""
    order: Places = np.argsort(
        keys(np.column_stack((networks, lengths))), kind="stable"
    )
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
