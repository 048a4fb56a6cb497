# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether an address, or a whole prefix, is registered or protected, and until when.

Knows what a snapshot says of it; does not know who asks, and has no way of telling
whether anybody uses a tunnel.
"""

import math
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import NamedTuple

from vpngate.packets import Family
from vpngate.prefixes.intervals import Intervals
from vpngate.public.question import AddressRange
from vpngate.registry import Registration
from vpngate.snapshot import Snapshot
from vpngate.timekeeping.moments import When, span_of

SOON = 7 * 86400.0  # seconds before its end in which a registration is called ending


class AddressKind(Enum):
    """What can be said of an address or a prefix."""

    PROTECTED = auto()  # by the operator
    REGISTERED = auto()
    ENDING = auto()  # registered, and soon no more
    GRACE = auto()  # has ended, and still stands
    TOGETHER = auto()  # a prefix: all of it, by several registrations
    PARTLY = auto()  # a prefix: some of it
    LATER = auto()  # a registration is to begin
    NOT = auto()


class AddressStanding(NamedTuple):
    """The answer.

    registration  by which it stands, stood last, or will stand; None where none is
                  about all of what was asked
    """

    kind: AddressKind
    registration: Registration | None = None

    @property
    def is_spared(self) -> bool:
        """Whether tunnels of all that was asked about are left alone now."""
        return self.kind in _SPARED


_SPARED = frozenset(
    {
        AddressKind.PROTECTED,
        AddressKind.REGISTERED,
        AddressKind.ENDING,
        AddressKind.GRACE,
        AddressKind.TOGETHER,
    }
)


def standing_of(
    question: AddressRange,
    snapshot: Snapshot,
    now: When,
    spared_by: Callable[[Snapshot], Intervals],
) -> AddressStanding:
    """What a snapshot says at `now`.

    `spared_by` tells whom its registry spares, in a second perhaps; it is asked only
    about a prefix that no registration is around.
    """
    asked = Intervals.of_prefixes([question.prefix])
    if snapshot.protected.covers(asked):
        return AddressStanding(AddressKind.PROTECTED)
    found = snapshot.registry.matches(question.first, now)
    around = [each for each in found if each.length <= question.length]
    standing = min(_standing(around, now), key=_best, default=None)
    if standing is not None:
        return AddressStanding(_kind_of(standing, now), standing)
    if not question.is_address:
        together = _together(asked, spared_by(snapshot), snapshot.protected)
        if together is not None:
            return AddressStanding(together)
    latest = span_of(now).latest
    later = [each for each in around if (each.valid_from or 0.0) > latest]
    if later:
        return AddressStanding(AddressKind.LATER, min(later, key=_begins))
    return AddressStanding(AddressKind.NOT, max(around, key=_ended, default=None))


def _together(
    asked: Intervals, spared: Intervals, protected: Intervals
) -> AddressKind | None:
    """TOGETHER, PARTLY, or None for no part.

    Whom the registry spares may be a million intervals, to be looked up in and not to
    be merged with others; what is protected is a few.
    """
    if spared.covers(asked.difference(protected)):
        return AddressKind.TOGETHER
    some = _meet(spared, asked) or _meet(protected, asked)
    return AddressKind.PARTLY if some else None


def _meet(one: Intervals, other: Intervals) -> bool:
    return any(one.meets_each(other.of(family)).any() for family in Family)


def _standing(around: list[Registration], now: When) -> Iterator[Registration]:
    """Those that count as registered, in grace or not."""
    earliest, latest = span_of(now)
    for each in around:
        begins, ends = each.valid_from, each.stands_until
        if (begins is None or begins <= latest) and (ends is None or ends > earliest):
            yield each


def _best(one: Registration) -> tuple[bool, float, int]:
    """What needs no grace and stands longest comes first; of equals the longest prefix.

    Whoever has one without end need not renew another.
    """
    ends = one.stands_until
    return one.in_grace, -math.inf if ends is None else -ends, -one.length


def _begins(one: Registration) -> float:
    return one.valid_from or 0.0


def _ended(one: Registration) -> float:
    return one.valid_until or 0.0


def _kind_of(standing: Registration, now: When) -> AddressKind:
    if standing.in_grace:
        return AddressKind.GRACE
    ends = standing.valid_until
    if ends is not None and ends <= span_of(now).latest + SOON:
        return AddressKind.ENDING
    return AddressKind.REGISTERED
