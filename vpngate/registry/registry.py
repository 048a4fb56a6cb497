# SPDX-License-Identifier: GPL-2.0-or-later
"""A registry as it was at one load: who is registered, and until when.

Knows the registrations of one load, those that an earlier load had and that still
stand, and the envelope around them; does not know how it was read, whether it may
be used (`guard.py`), or what came before it (`grace`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from vpngate.packets import Family
from vpngate.prefixes.intervals import Bounds, Intervals
from vpngate.prefixes.prefix import Prefix
from vpngate.registry.columns.entries import Entries, Roll, draw_up
from vpngate.registry.registration import Registration, point_at
from vpngate.timekeeping.moments import EVER, NEVER, Span, When, span_of


@dataclass(frozen=True, slots=True)
class Unread:
    """Whom the rejected rows of a registry were about, as far as it can be told.

    A row that cannot be read must not end what an earlier load said of its prefix
    and of its registration; if neither can be told, of anyone.
    """

    prefixes: frozenset[Prefix] = frozenset()
    registrations: frozenset[str] = frozenset()
    anyone: bool = False

    def holds(self, prefix: Prefix, registration: str) -> bool:
        """Whether a rejected row may have been about this one."""
        return (
            self.anyone
            or registration in self.registrations
            or (
                bool(self.prefixes)  # most often none: nothing to take apart
                and not self.prefixes.isdisjoint(prefix.enclosing())
            )
        )


class FirstFound(NamedTuple):
    """What was asked for: the first registrations, how many, and if any counts."""

    first: tuple[Registration, ...]
    total: int
    stands: bool = False


@dataclass(frozen=True, eq=False)
class Registry:
    """An immutable snapshot.

    current    what this load says
    kept       what earlier loads said and this one lacks: it stands until its grace
               is over, or, where a row that may be about it was rejected, in force
    grace      seconds for which a registration stands after its end
    serial, name, generated, expires, sentinels    of the JSON envelope; None or
               empty where there is none (moments in seconds since the epoch)
    suspend    why nobody is to be slowed while this one is in force; empty: as ever
    digest     of the content, uncompressed
    loaded     when it was read
    """

    current: Roll
    kept: Roll
    grace: float = 0.0
    name: str | None = None
    serial: int | None = None
    generated: float | None = None
    expires: float | None = None
    sentinels: tuple[str, ...] = ()
    suspend: str = ""
    digest: str = ""
    loaded: float | None = None
    unread: Unread = field(default_factory=Unread)

    @property
    def prefixes(self) -> dict[Family, int]:
        """How many registrations this load has, by family."""
        return {family: len(self.current.of(family)) for family in Family}

    def __len__(self) -> int:
        return len(self.current.ipv4) + len(self.current.ipv6)

    @cached_property
    def keeps(self) -> bool:
        """Whether anyone of an earlier load is kept."""
        return any(map(len, self.kept))

    def lookup(self, address: bytes, now: When) -> Registration | None:
        """Returns the longest prefix around an address that counts, in grace or not.

        Of two equal prefixes it is one that is not in grace.
        """
        # One moment is the common case, and spared the making of a span.
        earliest, latest = now if isinstance(now, Span) else (now, now)
        grace = self.grace
        entries = self.current.ipv4 if len(address) == 4 else self.current.ipv6  # noqa: PLR2004  # bytes in IPv4
        row = entries.find(address, earliest, latest, grace)
        found = None if row < 0 else point_at((entries, row, grace, earliest))
        if self.keeps:
            return self._or_kept(found, address, Span(earliest, latest))
        return found

    def _or_kept(
        self, found: Registration | None, address: bytes, span: Span
    ) -> Registration | None:
        entries = self.kept.around(address)
        row = entries.find(address, *span, self.grace)
        if row < 0:
            return found
        kept = Registration(entries, row, self.grace, span.earliest)
        if found is None:
            return kept
        longer = (kept.length, not kept.in_grace) > (found.length, not found.in_grace)
        return kept if longer else found

    def matches(self, address: bytes, now: When = EVER) -> tuple[Registration, ...]:
        """Returns every registration around an address, the longest prefix first.

        Also those that do not count now. If `now` is None, none is called in grace.
        """
        span = span_of(now)
        found = []
        for roll in (self.current, self.kept):
            entries = roll.around(address)
            row = entries.tree.longest(address)
            while row >= 0:
                found.append(Registration(entries, row, self.grace, span.earliest))
                row = entries.tree.parent(row)
        return tuple(sorted(found, key=lambda each: -each.length))

    def touching(self, prefix: Prefix, now: When, most: int) -> FirstFound:
        """Returns the registrations around a prefix or in it, the longest first.

        What stands of a million is told without a million objects.
        """
        span = span_of(now)
        rolls = [roll.of(prefix.family) for roll in (self.current, self.kept)]
        inside = [(entries, entries.within(prefix)) for entries in rolls]
        found = [
            Registration(entries, row, self.grace, span.earliest)
            for entries, row in _longest(inside, most)
        ]
        matches = self.matches(prefix.network, now)
        around = [each for each in matches if each.length <= prefix.length]
        count = sum(rows.stop - rows.start for _, rows in inside) + len(around)
        return FirstFound((*found, *around)[:most], count)

    def covered_within(self, prefix: Prefix, now: When) -> Intervals:
        """The addresses of the registrations that stand and lie in a prefix."""
        parts = []
        for roll in (self.current, self.kept):
            entries = roll.of(prefix.family)
            rows = entries.within(prefix)
            stand = entries.standing(span_of(now), self.grace, rows)
            if stand.any():
                first, last = entries.bounds
                bounds = Bounds(first[rows][stand], last[rows][stand])
                parts.append(Intervals.of_bounds({prefix.family: bounds}))
        return Intervals.empty().union(*parts)

    def called(self, name: str, now: When, most: int) -> FirstFound:
        """Returns the registrations with an id, in the order of their prefixes."""
        span, count, stands = span_of(now), 0, False
        found: list[Registration] = []
        for entries in (*self.current, *self.kept):
            rows = entries.called(name)
            count += len(rows)
            stands = stands or bool(entries.standing(span, self.grace, rows).any())
            found += [
                Registration(entries, row, self.grace, span.earliest)
                for row in rows[: most - len(found)].tolist()
            ]
        return FirstFound(tuple(found), count, stands)

    def covered(self, now: When) -> Intervals:
        """The addresses of all registrations that stand."""
        span = span_of(now)
        return _intervals(self.current, span, self.grace).union(
            _intervals(self.kept, span, self.grace)
        )

    def in_force(self, now: When) -> Intervals:
        """The addresses of the registrations of this load that need no grace."""
        return _intervals(self.current, span_of(now), 0.0)

    def expiring(self, now: When, within: float) -> int:
        """How many registrations in force end in the next `within` seconds."""
        span = span_of(now)
        return sum(entries.ending(span, within) for entries in self.current)

    def in_grace(self, now: When) -> dict[Family, int]:
        """How many registrations stand for their grace alone, by family."""
        span = span_of(now)
        return {
            family: sum(
                roll.of(family).in_grace(span, self.grace)
                for roll in (self.current, self.kept)
            )
            for family in Family
        }

    @property
    def intervals_digest(self) -> str:
        """16 hexadecimal digits of the addresses in this load, merged.

        The same on whatever gateway has it: dates, names and who is in grace aside, so
        that nothing but a load changes it. It takes time once (`Entries.digest`).
        """
        whole = b"".join(entries.digest for entries in self.current)
        return blake2b(whole, digest_size=8).hexdigest()

    def next_change(self, now: When) -> float | None:
        """When `covered` will be another set without a load; None for never.

        A moment after the latest that now may be.
        """
        span = span_of(now)
        changes = [
            entries.next_change(span, self.grace)
            for roll in (self.current, self.kept)
            for entries in roll
        ]
        soonest = min(changes)
        return None if soonest == NEVER else soonest


def _longest(
    inside: Sequence[tuple[Entries, slice]], most: int
) -> Iterator[tuple[Entries, int]]:
    """The first rows of some, the longest prefix first."""
    lengths = [entries.tree.lengths[rows] for entries, rows in inside]
    order = np.argsort(~np.concatenate(lengths), kind="stable")[:most]
    starts = np.cumsum([0, *map(len, lengths)])
    parts = np.searchsorted(starts, order, side="right") - 1
    for part, place in zip(parts.tolist(), order.tolist(), strict=True):
        entries, rows = inside[part]
        yield entries, rows.start + place - int(starts[part])


def _intervals(roll: Roll, span: Span, grace: float) -> Intervals:
    return Intervals.of_bounds(
        {entries.family: entries.covered(span, grace) for entries in roll}
    )


def empty_registry() -> Registry:
    """A registry of nobody: what there is before the first load."""
    return Registry(current=draw_up(), kept=draw_up())
