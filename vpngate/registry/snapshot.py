# SPDX-License-Identifier: GPL-2.0-or-later
"""A registry as it was at one load: who is registered, and until when.

Knows the registrations of one load, those that an earlier load had and that still
stand, and the envelope around them; does not know how it was read, whether it may
be used (`guard.py`), or what came before it (`grace.py`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from vpngate.packets import Family
from vpngate.registry.entries import Draft, Entries, Registration, Terms
from vpngate.registry.intervals import Intervals
from vpngate.registry.moments import EVER, Span, When, span_of
from vpngate.registry.prefixes import Prefix

Roll = Mapping[Family, Entries]


def draw_up(rows: Iterable[tuple[Prefix, Terms]] = ()) -> Roll:
    """A roll of registrations in any order, of both families."""
    drafts = {family: Draft(family) for family in Family}
    for prefix, terms in rows:
        drafts[prefix.family].add(prefix, terms)
    return {family: Entries(draft) for family, draft in drafts.items()}


@dataclass(frozen=True, slots=True)
class Unread:
    """Whom the rejected rows of a registry were about, as far as it can be told.

    A row that cannot be read must not end what an earlier load said of its prefix,
    or of its registration if not even the prefix can be read, or of anyone.
    """

    prefixes: frozenset[Prefix] = frozenset()
    registrations: frozenset[str] = frozenset()
    anyone: bool = False

    def holds(self, prefix: Prefix, registration: str) -> bool:
        """Whether a rejected row may have been about this one."""
        return (
            self.anyone or prefix in self.prefixes or registration in self.registrations
        )


@dataclass(frozen=True, eq=False)
class Registry:
    """An immutable snapshot.

    current    what this load says
    kept       what earlier loads said and this one lacks: it stands until its grace
               is over, or, where a row that may be about it was rejected, in force
    grace      seconds for which a registration stands after its end
    serial, name, generated, expires, sentinels    of the JSON envelope; None or
               empty where there is none (moments in seconds since the epoch)
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
    digest: str = ""
    loaded: float | None = None
    unread: Unread = field(default_factory=Unread)

    @property
    def prefixes(self) -> dict[Family, int]:
        """How many registrations this load has, by family."""
        return {family: len(entries) for family, entries in self.current.items()}

    def __len__(self) -> int:
        return sum(self.prefixes.values())

    def lookup(self, address: bytes, now: When) -> Registration | None:
        """The longest prefix around an address that stands, in grace or not.

        Of equal prefixes, one that is not in grace.
        """
        span = span_of(now)
        best: Registration | None = None
        for roll in (self.current, self.kept):
            for found in self._standing(roll, address, span):
                if best is None or (found.length, not found.in_grace) > (
                    best.length,
                    not best.in_grace,
                ):
                    best = found
                if not found.in_grace or found.length < best.length:
                    break
        return best

    def matches(self, address: bytes, now: When = EVER) -> tuple[Registration, ...]:
        """Every registration whose prefix encloses an address, the longest first.

        Whether it stands or not: `stands_at` of each tells. Without a moment none is
        in grace.
        """
        span = span_of(now)
        found = [
            roll[family].registration(row, span, self.grace)
            for family in [_family(address)]
            for roll in (self.current, self.kept)
            for row in roll[family].tree.matches(address)
        ]
        return tuple(sorted(found, key=lambda each: -each.length))

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
        return sum(entries.ending(span, within) for entries in self.current.values())

    def _standing(
        self, roll: Roll, address: bytes, span: Span
    ) -> Iterator[Registration]:
        entries = roll[_family(address)]
        for row in entries.tree.matches(address):
            if entries.stands(row, span, self.grace):
                yield entries.registration(row, span, self.grace)


def _family(address: bytes) -> Family:
    return Family.IPV4 if len(address) == Family.IPV4.width else Family.IPV6


def _intervals(roll: Roll, span: Span, grace: float) -> Intervals:
    return Intervals.of_bounds(
        {family: entries.covered(span, grace) for family, entries in roll.items()}
    )


def empty_registry() -> Registry:
    """A registry of nobody: what there is before the first load."""
    return Registry(current=draw_up(), kept=draw_up())
