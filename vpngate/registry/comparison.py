# SPDX-License-Identifier: GPL-2.0-or-later
"""Two registries side by side, and one in figures: for people.

Knows what differs between two registries and how much of the address space they
cover; does not know whether one may take the other's place (`guard.py`), or how
the answer is printed.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vpngate.packets import Family
from vpngate.prefixes.intervals import Intervals
from vpngate.prefixes.prefix import Prefix
from vpngate.registry.columns.entries import Entries, Row
from vpngate.registry.registry import Registry
from vpngate.timekeeping.moments import When


class RegistrationChange(NamedTuple):
    """A registration of one prefix under one name whose terms differ."""

    old: Row
    new: Row


class SuspendChange(NamedTuple):
    """Why one and the other have gateways observe; empty where they do not."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs: registrations row for row, addresses, and whether it suspends.

    suspend       None where both say the same
    gained, lost  addresses covered by one of the two only, at the moment asked about
    """

    added: tuple[Row, ...]
    removed: tuple[Row, ...]
    changed: tuple[RegistrationChange, ...]
    gained: Intervals
    lost: Intervals
    suspend: SuspendChange | None = None

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.added or self.removed or self.changed or self.suspend)


@dataclass(frozen=True, slots=True)
class Impact:
    """A registry in figures, by family.

    prefixes   registrations it has
    covered    addresses that are registered
    gained     of these, not covered by the one before
    lost       addresses covered by the one before alone
    """

    prefixes: dict[Family, int]
    covered: dict[Family, int]
    gained: dict[Family, int]
    lost: dict[Family, int]


def compare(old: Registry, new: Registry, now: When) -> Difference:
    """Returns what differs between two registries, in the order of addresses.

    A registration is told by its prefix and its name. Only what each says itself
    counts, not what is kept from before.
    """
    added: list[Row] = []
    removed: list[Row] = []
    changed: list[RegistrationChange] = []
    for family in Family:
        before, after = old.current.of(family), new.current.of(family)
        gone = _grouped(before, after)
        come = _grouped(after, before)
        for key in sorted(gone.keys() | come.keys()):
            olds, news = gone.get(key, []), come.get(key, [])
            changed += map(RegistrationChange, olds, news)
            removed += olds[len(news) :]
            added += news[len(olds) :]
    was, is_now = old.in_force(now), new.in_force(now)
    return Difference(
        tuple(added),
        tuple(removed),
        tuple(changed),
        gained=is_now.difference(was),
        lost=was.difference(is_now),
        suspend=_suspend_change(old, new),
    )


def impact(old: Registry | None, new: Registry, now: When) -> Impact:
    """Returns what a new registry would change; `old` is None if it is the first."""
    covered = new.covered(now)
    before = old.covered(now) if old else Intervals.empty()
    return Impact(
        new.prefixes,
        covered.addresses,
        covered.difference(before).addresses,
        before.difference(covered).addresses,
    )


def _suspend_change(old: Registry, new: Registry) -> SuspendChange | None:
    if old.suspend == new.suspend:
        return None
    return SuspendChange(old.suspend, new.suspend)


def _grouped(entries: Entries, other: Entries) -> dict[tuple[Prefix, str], list[Row]]:
    """Returns the rows that are not in the other registry just so, by prefix and name.

    Only prefixes with a difference become objects: two registries of a million that
    differ in ten rows are compared in bulk.
    """
    groups = defaultdict(list)
    for row in _differing(entries, other):
        whole = entries.row(row)
        groups[whole.prefix, whole.id].append(whole)
    return groups


def _differing(entries: Entries, other: Entries) -> Iterator[int]:
    mine, its = entries.fingerprints(), other.fingerprints()
    yield from np.flatnonzero(~np.isin(mine, its)).tolist()
