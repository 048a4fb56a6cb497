# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the kernel's sets of spared addresses hold what they should.

Knows which addresses are worth asking about; does not know how to mend a set. A dump
of a large set takes the kernel minutes, so single addresses are asked for: ends of
intervals, where a mistake would show, their neighbours outside, and any. After a change
of few intervals, the ends of all that changed are.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from vpngate.packets import Family
from vpngate.prefixes.intervals import Bounds, Delta, Intervals
from vpngate.prefixes.rows import Flags, Rows, following, keys, preceding

SAMPLE = 1000  # addresses of each family
STEP = 250  # addresses asked for at once: others must have their turn, too
_random = np.random.default_rng()


class Answering(Protocol):
    """What has sets of intervals, and answers for single addresses."""

    def holds(self, sets: Sequence[str], addresses: Rows) -> Flags:
        """For each row, whether its set of intervals holds it."""
        ...

    def starts(self, sets: Sequence[str], addresses: Rows) -> list[bytes | None]:
        """For each row, where its set's interval around it begins; None without."""
        ...


class Compared(NamedTuple):
    """What a comparison of a few intervals has shown.

    compared   how many there were
    differing  how many of those the kernel has not, or not with these ends
    last       where the last of them ends; None if there was none left
    """

    compared: int
    differing: int
    last: bytes | None


def after_change(
    spared: Intervals, delta: Delta, *, anew: bool
) -> Iterator[tuple[Family, Rows]]:
    """Addresses to ask about once `delta` has led to `spared`, `STEP` at a time.

    Of sets that were filled anew a sample, otherwise the ends of all that changed.
    """
    for family in Family:
        if anew:
            rows = sample(spared.of(family), family)
        else:
            changed = (*delta.added.of(family), *delta.removed.of(family))
            rows = np.concatenate(changed)
        for few in in_steps(rows):
            yield family, few


def in_steps(rows: Rows) -> Iterator[Rows]:
    """Addresses as many at a time as are asked about at once."""
    for start in range(0, len(rows), STEP):
        yield rows[start : start + STEP]


def agrees(
    table: Answering, sets: Sequence[str], intervals: Intervals, addresses: Rows
) -> bool:
    """Whether the kernel's set of each address answers as `intervals` does."""
    found = table.holds(sets, addresses)
    return np.array_equal(found, intervals.contains_each(addresses))


def behind(bounds: Bounds, after: bytes | None) -> Bounds:
    """Up to `STEP` intervals, those that end behind an address."""
    place = 0
    if after is not None:
        place = int(np.searchsorted(keys(bounds.last), np.bytes_(after), side="right"))
    return Bounds(*(side[place : place + STEP] for side in bounds))


def compare(table: Answering, sets: Sequence[str], few: Bounds) -> Compared:
    """Compare a few intervals, each with its set, end for end.

    The interval around its own last address has to begin where it begins, and behind
    that there must be none: so nothing is missing, cut, or grown together.
    """
    if not len(few):
        return Compared(0, 0, None)
    starts = table.starts(sets, few.last)
    next_to, none_left = following(few.last)
    joined = table.holds(sets, next_to) & ~none_left
    wrong = [
        start != first.tobytes() or bool(more)
        for start, first, more in zip(starts, few.first, joined, strict=True)
    ]
    return Compared(len(few), sum(wrong), few.last[-1].tobytes())


def counted(bounds: Bounds) -> int:
    """What the kernel counts where it has just these intervals (`OwnedTable.count`)."""
    open_ended = len(bounds) > 0 and following(bounds.last[-1:])[1][0]
    return len(bounds) - int(open_ended)


def sample(bounds: Bounds, family: Family, number: int = SAMPLE) -> Rows:
    """Addresses to ask about: a third at random, the rest about ends of intervals."""
    some = number // 6
    anywhere = _random.integers(0, 256, (2 * some, family.width), dtype=np.uint8)
    if not len(bounds):
        return anywhere
    picked = _random.integers(0, len(bounds), some)
    return np.concatenate([anywhere, about(bounds.first[picked], bounds.last[picked])])


def about(first: Rows, last: Rows) -> Rows:
    """The ends of intervals, and their neighbours outside."""
    return np.concatenate([first, last, preceding(first), following(last)[0]])
