# SPDX-License-Identifier: GPL-2.0-or-later
"""How the registered addresses are shared out over sets of a moderate size.

Knows where the address space is cut, which part an address is in, and the changes that
make, ask and remove the sets that it takes; does not know what they hold. The cuts are
quantiles of what is held when sets are filled anew, so that prefixes that stand close
together are shared out like others. What straddles a cut is split there.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from vpngate.kernel.wire import elements, messages
from vpngate.kernel.wire.channel import Change
from vpngate.packets import Family
from vpngate.prefixes.intervals import Bounds, Intervals
from vpngate.prefixes.rows import Rows, keys, preceding, rows_of
from vpngate.ruleset import names
from vpngate.ruleset.registered import (
    Use,
    entrance,
    entrance_chain,
    part_chain,
    part_set,
    parts_map,
)
from vpngate.ruleset.table import Chain

SHARE = 16_000  # intervals of a part; a change of one costs some 3 ms
MOST = 256  # parts of a family
_MADE_AT_ONCE = 4  # parts


class Cut:
    """The parts of one generation, by family."""

    def __init__(self, generation: int, held: Intervals) -> None:
        self.generation = generation
        self._cuts = {family: _quantiles(held.of(family), family) for family in Family}
        numbers = ((len(held.of(f)), self.parts(f)) for f in Family)
        self._share = [max(SHARE, number // parts) for number, parts in numbers]

    def parts(self, family: Family) -> int:
        """How many there are."""
        return len(self._cuts[family]) + 1

    def part_of(self, family: Family, addresses: Rows) -> NDArray[np.intp]:
        """The part of each address, counted from 0."""
        cuts = self._cuts[family]
        if not len(cuts):
            return np.zeros(len(addresses), dtype=np.intp)
        place: NDArray[np.intp] = np.searchsorted(
            keys(cuts), keys(addresses), side="right"
        )
        return place

    def names(self, family: Family) -> list[str]:
        """The sets of the parts, in order."""
        number = self.parts(family)
        numbers = [0] if number == 1 else range(1, number + 1)
        return [names.spared_set(family, self.generation, one) for one in numbers]

    def pieces(self, intervals: Intervals) -> Intervals:
        """The same addresses, where no interval is in two parts."""
        sides = [self._split(intervals.of(family), family) for family in Family]
        return Intervals(*sides[0], *sides[1])

    def ends(self, family: Family, held: Bounds) -> NDArray[np.intp]:
        """Behind which of some pieces, in order, each part's are at an end."""
        cuts = self._cuts[family]
        behind: NDArray[np.intp] = np.full(len(cuts) + 1, len(held), dtype=np.intp)
        if len(cuts):
            behind[:-1] = np.searchsorted(keys(held.first), keys(cuts))
        return behind

    def overgrown(self, pieces: Intervals) -> bool:
        """Whether a part has grown to more than twice its share."""
        for family, share in zip(Family, self._share, strict=True):
            sizes = np.diff(self.ends(family, pieces.of(family)), prepend=0)
            if sizes.max() > 2 * share:
                return True
        return False

    def making(self, table: str) -> Iterator[list[Change]]:
        """The changes that make everything but what asks it, a few parts at a time."""
        for family in Family:
            number = self.parts(family)
            if number == 1:
                yield [messages.new_set(table, part_set(family, self.generation))]
                continue
            for start in range(1, number + 1, _MADE_AT_ONCE):
                few = range(start, min(start + _MADE_AT_ONCE, number + 1))
                yield self._parts(table, family, few)
            for use in Use:
                yield self._map(table, use, family)

    def asking(self, table: str) -> list[Change]:
        """The changes that have the entrances ask these, and no others."""
        changes = []
        for use, family in product(Use, Family):
            chain = self._entrance(use, family)
            changes.append(messages.delete_rules(table, chain.name))
            changes += messages.rules(table, chain)
        return changes

    def entrances(self, table: str) -> list[Change]:
        """The changes that make the entrances, asking these."""
        changes = []
        for use, family in product(Use, Family):
            chain = self._entrance(use, family)
            changes.append(messages.new_chain(table, chain))
            changes += messages.rules(table, chain)
        return changes

    def _entrance(self, use: Use, family: Family) -> Chain:
        return entrance_chain(use, family, self.generation, self.parts(family))

    def _parts(self, table: str, family: Family, few: range) -> list[Change]:
        changes = []
        for part in few:
            one = part_set(family, self.generation, part)
            changes.append(messages.new_set(table, one))
        for use, part in product(Use, few):
            chain = part_chain(use, family, self.generation, part)
            changes.append(messages.new_chain(table, chain))
            changes += messages.rules(table, chain)
        return changes

    def _map(self, table: str, use: Use, family: Family) -> list[Change]:
        which = parts_map(use, family, self.generation)
        lowest = rows_of(bytes(family.width), family)
        chains = [
            names.part(entrance(use, family), self.generation, part)
            for part in range(1, self.parts(family) + 1)
        ]
        firsts = np.concatenate([lowest, self._cuts[family]])
        return [
            messages.new_set(table, which),
            *elements.add_jumps(table, which.name, firsts, chains),
        ]

    def _split(self, bounds: Bounds, family: Family) -> Bounds:
        cuts = self._cuts[family]
        if not len(cuts) or not len(bounds):
            return bounds
        place = np.searchsorted(keys(bounds.first), keys(cuts), side="left") - 1
        inside = place >= 0
        inside[inside] = keys(bounds.last)[place[inside]] >= keys(cuts)[inside]
        if not inside.any():
            return bounds
        at, cuts = place[inside] + 1, cuts[inside]
        first = np.insert(bounds.first, at, cuts, axis=0)
        last = np.insert(bounds.last, at - 1, preceding(cuts), axis=0)
        return Bounds(first, last)


def of_another(name: str, generation: int) -> bool:
    """Whether a set or chain is of another generation, by its name."""
    found = names.generation_of(name)
    return found is not None and found != generation


def _quantiles(bounds: Bounds, family: Family) -> Rows:
    number = min(max(round(len(bounds) / SHARE), 1), MOST)
    if number == 1:
        return rows_of(b"", family)
    places = np.arange(1, number) * len(bounds) // number
    return bounds.first[places]
