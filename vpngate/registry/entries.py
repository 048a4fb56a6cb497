# SPDX-License-Identifier: GPL-2.0-or-later
"""The registrations of one family: a prefix tree and a column for each field.

Knows what stands in a registry about a prefix, and whether it stands at a moment;
does not know where it was written, or what else a registry says.
"""

from array import array
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import numpy as np

from vpngate.packets import Family
from vpngate.registry.intervals import Bounds, Flags, rows_of
from vpngate.registry.moments import ALWAYS, NEVER, Span, When, format_moment, span_of
from vpngate.registry.prefixes import Prefix
from vpngate.registry.tree import Places, PrefixTree, preorder

_Number = TypeVar("_Number", int, float)


class Registration(NamedTuple):
    """What a registry says of one prefix, as it is at the moment asked about.

    Moments are seconds since the epoch; None is no limit. `gone_since` is when the
    prefix was first missing from the registry; `stands_until` when it stops being
    registered, grace included.
    """

    network: bytes
    length: int
    id: str
    tunnels: tuple[str, ...]  # for the reader, never acted on
    valid_from: float | None
    valid_until: float | None
    gone_since: float | None
    in_grace: bool
    stands_until: float | None

    @property
    def prefix(self) -> str:
        """The prefix as people write it."""
        return str(Prefix(self.network, self.length))

    def stands_at(self, now: When) -> bool:
        """Whether it is registered at a moment, grace included."""
        span = span_of(now)
        begun = self.valid_from is None or self.valid_from <= span.latest
        over = self.stands_until is not None and self.stands_until <= span.earliest
        return begun and not over

    def __str__(self) -> str:
        until = self.stands_until
        end = "" if until is None else f" until {format_moment(until)}"
        return (
            f"{self.prefix} as {self.id}{end}{' (in grace)' if self.in_grace else ''}"
        )


class Terms(NamedTuple):
    """What a registration says beside its prefix; ALWAYS and NEVER are no limit."""

    id: str
    tunnels: tuple[str, ...] = ()
    valid_from: float = ALWAYS
    valid_until: float = NEVER
    gone_since: float = NEVER


class Entries:
    """The registrations of one family, rows in the order of the tree; immutable."""

    def __init__(self, draft: "Draft") -> None:
        networks = rows_of(bytes(draft.networks), draft.family)
        lengths = np.frombuffer(draft.lengths, dtype=np.uint8)
        order = preorder(networks, lengths)
        self.tree = PrefixTree(draft.family, networks[order], lengths[order])
        # Names stay where they were given, the numbers move: columns are sorted one
        # at a time, so that only one is there twice.
        self._ids, self._id_ends = draft.ids, draft.id_ends
        self._given = array("I", order.astype("=u4").tobytes())
        self._tunnel_sets = tuple(draft.tunnel_sets)
        self._tunnels = _sorted(draft.tunnels, order)
        self._since = _sorted(draft.since, order)
        self._until = _sorted(draft.until, order)
        self._gone = _sorted(draft.gone, order)

    def __len__(self) -> int:
        return len(self.tree)

    @property
    def family(self) -> Family:
        """The family of all prefixes."""
        return self.tree.family

    @property
    def bounds(self) -> Bounds:
        """The first and the last address of each prefix."""
        return self.tree.bounds

    def id(self, row: int) -> str:
        """The registration's name."""
        given = self._given[row]
        start = self._id_ends[given - 1] if given else 0
        return self._ids[start : self._id_ends[given]].decode("ascii")

    def terms(self, row: int) -> Terms:
        """What stands beside the prefix of a row."""
        return Terms(
            self.id(row),
            self._tunnel_sets[self._tunnels[row]],
            self._since[row],
            self._until[row],
            self._gone[row],
        )

    def prefix(self, row: int) -> Prefix:
        """The prefix of a row."""
        return Prefix(self.tree.network(row), self.tree.length(row))

    def stands(self, row: int, span: Span, grace: float) -> bool:
        """Whether a row is valid anywhere in a span, `grace` seconds added."""
        return self._since[row] <= span.latest and (
            min(self._until[row], self._gone[row]) + grace > span.earliest
        )

    def standing(self, span: Span, grace: float) -> Flags:
        """`stands` for every row."""
        until = np.frombuffer(self._until, dtype=np.float64)
        ends = np.minimum(until, np.frombuffer(self._gone, dtype=np.float64))
        since = np.frombuffer(self._since, dtype=np.float64)
        flags: Flags = (since <= span.latest) & (ends + grace > span.earliest)
        return flags

    def ending(self, span: Span, within: float) -> int:
        """How many rows are valid now and end in the next `within` seconds."""
        until = np.frombuffer(self._until, dtype=np.float64)
        return int(
            np.count_nonzero(self.standing(span, 0.0) & (until <= span.latest + within))
        )

    def covered(self, span: Span, grace: float) -> Bounds:
        """The prefixes that stand and lie in no other that does."""
        if not len(self):
            return self.bounds
        chosen = self.tree.outermost(self.standing(span, grace))
        first, last = self.bounds
        return Bounds(first[chosen], last[chosen])

    def registration(self, row: int, span: Span, grace: float) -> Registration:
        """A row as the registration it is at a moment."""
        terms = self.terms(row)
        end = min(terms.valid_until, terms.gone_since)
        return Registration(
            self.tree.network(row),
            self.tree.length(row),
            terms.id,
            terms.tunnels,
            None if terms.valid_from == ALWAYS else terms.valid_from,
            None if terms.valid_until == NEVER else terms.valid_until,
            None if terms.gone_since == NEVER else terms.gone_since,
            end <= span.earliest,
            None if end == NEVER else end + grace,
        )

    def rows(self) -> Iterator[tuple[Prefix, Terms]]:
        """Every row, in order."""
        for row in range(len(self)):
            yield self.prefix(row), self.terms(row)


def _sorted(column: "array[_Number]", order: Places) -> "array[_Number]":
    values = np.frombuffer(column, dtype=column.typecode)
    return array(column.typecode, values[order].tobytes())


class Draft:
    """Registrations of one family on their way into `Entries`, in any order."""

    MAX_TUNNEL_SETS = 2**16

    def __init__(self, family: Family) -> None:
        self.family = family
        self.networks = bytearray()
        self.lengths = array("B")
        self.ids = bytearray()
        self.id_ends = array("I")
        self.tunnel_sets: dict[tuple[str, ...], int] = {}
        self.tunnels = array("H")
        self.since = array("d")
        self.until = array("d")
        self.gone = array("d")

    def add(self, prefix: Prefix, terms: Terms) -> None:
        """One more registration; ValueError if it has one tunnel list too many."""
        number = self.tunnel_sets.setdefault(terms.tunnels, len(self.tunnel_sets))
        if number >= self.MAX_TUNNEL_SETS:
            del self.tunnel_sets[terms.tunnels]
            raise ValueError(f"more than {self.MAX_TUNNEL_SETS} different lists")
        self.networks += prefix.network
        self.lengths.append(prefix.length)
        self.ids += terms.id.encode("ascii")
        self.id_ends.append(len(self.ids))
        self.tunnels.append(number)
        self.since.append(terms.valid_from)
        self.until.append(terms.valid_until)
        self.gone.append(terms.gone_since)
