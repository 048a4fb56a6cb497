# SPDX-License-Identifier: GPL-2.0-or-later
"""A prefix tree of one family, in arrays of numbers.

Knows which prefixes enclose which, and finds those that enclose an address; does
not know what a prefix stands for, or since when.

The prefixes lie sorted by network and length: that is the order in which a walk
from the root would meet them (preorder), so the tree needs no links to children.
Each has the row of its parent, the nearest prefix around it, and the row where the
prefixes inside it end. Equal prefixes nest in the order they were given.
"""

import struct
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left, bisect_right
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vpngate.packets import Family
from vpngate.prefixes.intervals import Bounds
from vpngate.prefixes.prefix import host_masks
from vpngate.prefixes.rows import Flags, Rows, keys

Places = NDArray[np.int64]

_SHELF_BITS = 16  # that tell one shelf from the next; in an IPv6 block at most
_SHELF_SHIFT = 32 - _SHELF_BITS
_ROWS_A_SHELF = 4  # about so many lie on a shelf of an IPv6 block
_BLOCK_SHIFT = 48  # an IPv6 block is a /16: its upper half without so many bits
_NUMBER, _HALVES = struct.Struct(">I"), struct.Struct(">QQ")
_unpack_number, _unpack_halves = _NUMBER.unpack, _HALVES.unpack
_HALF = 64  # bits in one of the two numbers that make an IPv6 address


class PrefixTree(ABC):
    """Prefixes of one family; immutable.

    A search goes for the last row whose network is not above the address: what
    encloses the address is that row or around it. An address lies in a prefix if
    their difference vanishes when the host part is shifted out.
    """

    family: ClassVar[Family]

    def __init__(self, networks: Rows, lengths: NDArray[np.uint8]) -> None:
        """From networks (n, width) and lengths already in the order of `preorder`."""
        self._bits = 8 * self.family.width
        self._shifts = column("B", self._bits - lengths)
        last = networks | host_masks(self.family)[lengths]
        ends = np.searchsorted(keys(networks), keys(last), side="right")
        self._ends = ends.astype(np.int32)
        del last, ends
        self._parents = column("i", _parents(self._ends))

    def __len__(self) -> int:
        return len(self._shifts)

    @abstractmethod
    def longest(self, address: bytes) -> int:
        """The row of the longest prefix around an address; -1 if there is none."""

    @abstractmethod
    def network(self, row: int) -> bytes:
        """The network of a row."""

    @property
    @abstractmethod
    def networks(self) -> Rows:
        """All networks, a row each."""

    def parent(self, row: int) -> int:
        """The row of the next prefix around a row's; -1 if there is none."""
        return self._parents[row]

    def length(self, row: int) -> int:
        """The prefix length of a row."""
        return self._bits - self._shifts[row]

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


class Tree4(PrefixTree):
    """IPv4: a network is a number."""

    family = Family.IPV4

    def __init__(self, networks: Rows, lengths: NDArray[np.uint8]) -> None:
        super().__init__(networks, lengths)
        numbers = _numbers(networks, ">u4")
        self._numbers = column("I", numbers)
        begins = np.arange(1 << _SHELF_BITS, dtype=np.uint32) << _SHELF_SHIFT
        self._shelves = _shelves(numbers, begins)

    def longest(self, address: bytes) -> int:
        """See `PrefixTree`."""
        (number,) = _unpack_number(address)
        numbers, shelves, shifts = self._numbers, self._shelves, self._shifts
        shelf = number >> _SHELF_SHIFT
        row = bisect_right(numbers, number, shelves[shelf], shelves[shelf + 1]) - 1
        while row >= 0 and (number ^ numbers[row]) >> shifts[row]:
            row = self._parents[row]
        return row

    def network(self, row: int) -> bytes:
        """See `PrefixTree`."""
        return _NUMBER.pack(self._numbers[row])

    @property
    def networks(self) -> Rows:
        """See `PrefixTree`."""
        return _octets(self._numbers, "=u4", ">u4")


class Tree6(PrefixTree):
    """IPv6: a network is two numbers, of 64 bits each."""

    family = Family.IPV6

    def __init__(self, networks: Rows, lengths: NDArray[np.uint8]) -> None:
        super().__init__(networks, lengths)
        high, low = _numbers(networks[:, :8], ">u8"), _numbers(networks[:, 8:], ">u8")
        self._high, self._low = column("Q", high), column("Q", low)
        # What is handed out lies in few blocks: only these have shelves.
        blocks = np.unique(high >> _BLOCK_SHIFT)
        crowd = len(high) // max(1, len(blocks))
        bits = min(_SHELF_BITS, (crowd // _ROWS_A_SHELF).bit_length())
        self._shelf_shift = _BLOCK_SHIFT - bits
        within = np.arange(1 << bits, dtype=np.uint64) << self._shelf_shift
        begins = (blocks << _BLOCK_SHIFT)[:, np.newaxis] + within
        self._shelves = _shelves(high, begins.ravel())
        # By a block's number, what turns the upper bits of an address into a shelf's.
        self._blocks = {
            block: (place - block) << bits
            for place, block in enumerate(blocks.tolist())
        }

    def longest(self, address: bytes) -> int:
        """See `PrefixTree`."""
        top, rest = _unpack_halves(address)
        high, shelves = self._high, self._shelves
        block = self._blocks.get(top >> _BLOCK_SHIFT)
        if block is None:
            start, end = 0, len(high)
        else:
            shelf = block + (top >> self._shelf_shift)
            start, end = shelves[shelf], shelves[shelf + 1]
        row = bisect_right(high, top, start, end) - 1
        low, shifts = self._low, self._shifts
        if row >= 0 and high[row] == top and low[row] > rest:
            start = bisect_left(high, top, start, row)
            row = bisect_right(low, rest, start, row) - 1
        while row >= 0:
            shift = shifts[row]
            if shift >= _HALF:  # the prefix ends in the upper half
                if not (top ^ high[row]) >> (shift - _HALF):
                    break
            elif top == high[row] and not (rest ^ low[row]) >> shift:
                break
            row = self._parents[row]
        return row

    def network(self, row: int) -> bytes:
        """See `PrefixTree`."""
        return _HALVES.pack(self._high[row], self._low[row])

    @property
    def networks(self) -> Rows:
        """See `PrefixTree`."""
        return np.hstack(
            (_octets(self._high, "=u8", ">u8"), _octets(self._low, "=u8", ">u8"))
        )


def preorder(prefixes: Rows) -> Places:
    """Returns the order in which a tree has these prefixes; equal ones keep theirs.

    A prefix is its network and then its length: shorter ones come before those in
    them.
    """
    order: Places = np.argsort(keys(prefixes), kind="stable")
    return order


def column(kind: str, numbers: NDArray[Any]) -> "array[int]":
    """Returns a Python array of these numbers: reading one is faster than numpy's."""
    result = array(kind)
    result.frombytes(np.ascontiguousarray(numbers, dtype=kind).view(np.uint8).data)
    return result


def _parents(ends: NDArray[np.int32]) -> NDArray[np.int32]:
    """Returns each row's parent (-1: none), given where the rows inside each one end.

    Each row starts with the row before it as the candidate. A candidate that ends
    before the row is a sibling, or inside a sibling: then its own candidate is tried,
    which is never further away than the parent. So the steps double each time.
    """
    rows = np.arange(len(ends), dtype=np.int32)
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


def _shelves(numbers: NDArray[Any], begins: NDArray[Any]) -> "array[int]":
    """The row at which each shelf begins, and where the last one ends.

    A shelf is a stretch of the address space; it saves most steps of a search.
    """
    return column("I", np.append(np.searchsorted(numbers, begins), len(numbers)))


def _numbers(rows: Rows, stored: str) -> NDArray[Any]:
    return np.ascontiguousarray(rows).view(stored).ravel()


def _octets(numbers: "array[int]", native: str, stored: str) -> Rows:
    values = np.frombuffer(numbers, dtype=native).astype(stored)
    return values.view(np.uint8).reshape(-1, numbers.itemsize)
