# SPDX-License-Identifier: GPL-2.0-or-later
"""Sets of addresses as merged, disjoint, sorted intervals, in bulk.

Knows both families and set arithmetic on numpy arrays; does not know what the
addresses stand for.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vpngate.packets import Family
from vpngate.prefixes.prefix import host_masks, parse_prefix
from vpngate.prefixes.rows import (
    Flags,
    Rows,
    digits,
    following,
    keys,
    places,
    preceding,
    rows_of,
    sort_rows,
)


class Bounds(NamedTuple):
    """Intervals of one family: rows of addresses, both ends included."""

    first: Rows
    last: Rows

    def __len__(self) -> int:
        return len(self.first)


class Delta(NamedTuple):
    """The whole intervals to remove and to add to turn one set into another."""

    added: "Intervals"
    removed: "Intervals"


@dataclass(frozen=True, eq=False)
class Intervals:
    """Sorted intervals that neither overlap nor touch; both ends are included.

    For each family `first` and `last` are arrays of shape (n, width) holding
    addresses in network byte order: width 4 for IPv4, 16 for IPv6. The arrays are
    never written to.
    """

    first4: Rows
    last4: Rows
    first6: Rows
    last6: Rows

    @classmethod
    def empty(cls) -> "Intervals":
        """The set of no address."""
        return cls.of_bounds({})

    @classmethod
    def of_bounds(cls, bounds: dict[Family, Bounds]) -> "Intervals":
        """From intervals in any order that may overlap or touch."""
        merged = [
            merge(bounds[family]) if family in bounds else no_bounds(family)
            for family in Family
        ]
        return cls(*merged[0], *merged[1])

    @classmethod
    def of_prefixes(cls, texts: Iterable[str]) -> "Intervals":
        """From prefixes as people write them; ValueError says which is none."""
        prefixes = [parse_prefix(text) for text in texts]
        bounds = {}
        for family in Family:
            chosen = [p for p in prefixes if len(p.network) == family.width]
            first = rows_of(b"".join(p.network for p in chosen), family)
            lengths = np.array([p.length for p in chosen], dtype=np.intp)
            bounds[family] = Bounds(first, first | host_masks(family)[lengths])
        return cls.of_bounds(bounds)

    def of(self, family: Family) -> Bounds:
        """The intervals of one family."""
        if family is Family.IPV4:
            return Bounds(self.first4, self.last4)
        return Bounds(self.first6, self.last6)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Intervals):
            return NotImplemented
        return all(
            np.array_equal(mine, its)
            for family in Family
            for mine, its in zip(self.of(family), other.of(family), strict=True)
        )

    __hash__ = None  # type: ignore[assignment]  # compared by content, which is large

    def __len__(self) -> int:
        """How many intervals, of both families."""
        return len(self.first4) + len(self.first6)

    @property
    def addresses(self) -> dict[Family, int]:
        """How many addresses belong to the set, by family."""
        counts = {}
        for family in Family:
            first, last = self.of(family)
            # A sum of differences, digit by digit: no number wider than 64 bits.
            digits = last.sum(axis=0, dtype=np.int64) - first.sum(0, dtype=np.int64)
            total = len(first)
            for place, digit in enumerate(reversed(digits.tolist())):
                total += digit << (8 * place)
            counts[family] = total
        return counts

    def contains(self, address: bytes) -> bool:
        """Whether an address (4 or 16 bytes) belongs to the set."""
        family = Family.IPV4 if len(address) == Family.IPV4.width else Family.IPV6
        return bool(self.contains_each(rows_of(address, family))[0])

    def contains_each(self, addresses: Rows) -> Flags:
        """For each row, whether that address belongs to the set."""
        return self.covers_each(Bounds(addresses, addresses))

    def covers(self, other: "Intervals") -> bool:
        """Whether all of another set belongs to this one."""
        return all(self.covers_each(other.of(family)).all() for family in Family)

    def covers_each(self, bounds: Bounds) -> Flags:
        """For each interval given, whether all of it belongs to the set."""
        family = Family.IPV4 if bounds.first.shape[1] == 4 else Family.IPV6  # noqa: PLR2004  # the width of IPv4
        first, last = self.of(family)
        if not len(first):
            return np.zeros(len(bounds), dtype=np.bool_)
        place = np.searchsorted(keys(first), keys(bounds.first), side="right") - 1
        inside: Flags = (place >= 0) & (keys(bounds.last) <= keys(last)[place])
        return inside

    def meets_each(self, bounds: Bounds) -> Flags:
        """For each interval given, whether any of it belongs to the set."""
        family = Family.IPV4 if bounds.first.shape[1] == 4 else Family.IPV6  # noqa: PLR2004  # the width of IPv4
        first, last = self.of(family)
        place = np.searchsorted(keys(last), keys(bounds.first))
        meets: Flags = place < len(last)
        meets[meets] = keys(first)[place[meets]] <= keys(bounds.last)[meets]
        return meets

    def union(self, *others: "Intervals") -> "Intervals":
        """The addresses of any of the sets."""
        sets = (self, *others)
        return Intervals.of_bounds(
            {
                family: Bounds(
                    np.concatenate([each.of(family).first for each in sets]),
                    np.concatenate([each.of(family).last for each in sets]),
                )
                for family in Family
            }
        )

    def difference(self, other: "Intervals") -> "Intervals":
        """The addresses of this set that the other lacks."""
        return Intervals.of_bounds(
            {family: self._beyond(other, family) for family in Family}
        )

    def delta(self, target: "Intervals") -> Delta:
        """The intervals to add to and to remove from this set to make it `target`.

        Intervals are compared whole, as the kernel's elements are: one that grew is
        removed and its successor added.
        """
        added, removed = [], []
        for family in Family:
            mine, its = self.of(family), target.of(family)
            lost, gained = differing(mine, its)
            removed += [mine.first[lost], mine.last[lost]]
            added += [its.first[gained], its.last[gained]]
        return Delta(Intervals(*added), Intervals(*removed))

    def _beyond(self, other: "Intervals", family: Family) -> Bounds:
        """The parts of this set's intervals that do not lie in the other set.

        Every end of either set is a seam; between two seams membership is constant.
        """
        sides = [self.of(family), other.of(family)]
        seams = []
        for first, last in sides:
            beyond, none_left = following(last)
            seams += [first, beyond[~none_left]]
        starts = sort_rows(np.concatenate(seams))
        fresh = np.ones(len(starts), dtype=np.bool_)
        fresh[1:] = keys(starts)[1:] != keys(starts)[:-1]
        starts = starts[fresh]
        ends = np.full_like(starts, 0xFF)
        ends[:-1] = preceding(starts[1:])
        chosen = self.contains_each(starts) & ~other.contains_each(starts)
        return Bounds(starts[chosen], ends[chosen])


def no_bounds(family: Family) -> Bounds:
    """No interval of a family."""
    none = rows_of(b"", family)
    return Bounds(none, none)


def differing(one: Bounds, other: Bounds) -> tuple[Flags, Flags]:
    """Returns which intervals each side has and the other has not; both are sorted.

    Two intervals are the same if both their ends are.
    """
    lost, gained = (np.ones(len(each), dtype=np.bool_) for each in (one, other))
    if len(other):
        place = places(other.first, one.first)
        place[place == len(other)] = 0
        lost[:] = False
        for mine, its in zip(one, other, strict=True):
            for left, right in zip(digits(mine), digits(its), strict=True):
                lost |= left != right[place]
        gained[place[~lost]] = False
    return lost, gained


def merge(bounds: Bounds) -> Bounds:
    """Returns the same addresses as sorted intervals that do not overlap or touch.

    With firsts and lasts sorted apart, a gap lies before the i-th first exactly if
    the i intervals that begin before it have all ended: the i-th lowest last is
    below it, and not its neighbour.
    """
    if len(bounds) == 0:
        return bounds
    first, last = sort_rows(bounds.first), sort_rows(bounds.last)
    beyond, none_left = following(last[:-1])
    gap = np.flatnonzero((keys(beyond) < keys(first[1:])) & ~none_left)
    return Bounds(
        first[np.concatenate(([0], gap + 1))],
        last[np.concatenate((gap, [len(last) - 1]))],
    )
