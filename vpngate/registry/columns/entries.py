# SPDX-License-Identifier: GPL-2.0-or-later
"""The registrations of one family: a prefix tree and a record for each of its rows.

Knows what stands in a registry about a prefix, and whether it stands at a moment;
does not know where it was written, or what else a registry says.

Everything stands in columns: prefixes in the tree, terms in a table (`terms.py`),
names one after the other in a text. A million registrations are a few large pieces
of memory and no objects.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from hashlib import blake2b
from sys import byteorder
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vpngate.packets import Family
from vpngate.prefixes.intervals import Bounds, merge
from vpngate.prefixes.prefix import Prefix, host_masks
from vpngate.prefixes.rows import Flags, Keys, keys
from vpngate.registry.columns.terms import Moments, Terms, TermsTable
from vpngate.registry.columns.tree import (
    Places,
    PrefixTree,
    Tree4,
    Tree6,
    column,
    preorder,
)
from vpngate.timekeeping.moments import NEVER, Span

_NUMBER = array("I").itemsize  # bytes in the number of a registration's terms
_ALL = slice(None)
_NAME_LENGTHS = [bytes([length]) for length in range(256)]


class Row(NamedTuple):
    """One registration, whole."""

    prefix: Prefix
    id: str
    terms: Terms


class Entries:
    """The registrations of one family, rows in the order of the tree; immutable."""

    def __init__(
        self, family: Family, records: bytearray, names: bytes, table: TermsTable
    ) -> None:
        """From records and names in the order in which they were given.

        A record is a row of bytes: network, prefix length, number of the terms, and
        the length of the name.
        """
        self.family = family
        head = family.width + 1
        given = np.frombuffer(records, np.uint8).reshape(-1, head + _NUMBER + 1)
        order = preorder(given[:, :head])
        starts = np.cumsum(given[:, -1], dtype=np.uint32) - given[:, -1]
        self._name_starts = column("I", starts[order])
        ordered = given[order]
        del given, order, starts
        self._name_lengths = ordered[:, -1].tobytes()
        self._names = names
        numbers = np.ascontiguousarray(ordered[:, head:-1]).view("=u4").ravel()
        self._terms = column("I", numbers)
        self._table = table
        tree = Tree4 if family is Family.IPV4 else Tree6
        self.tree: PrefixTree = tree(ordered[:, : head - 1], ordered[:, head - 1])

    def __len__(self) -> int:
        return len(self.tree)

    @property
    def bounds(self) -> Bounds:
        """The first and the last address of each prefix."""
        return self.tree.bounds

    @cached_property
    def digest(self) -> bytes:
        """Of all addresses, merged: the same for prefixes that cover the same.

        A million prefixes take half a second, once.
        """
        found = blake2b(digest_size=16)
        for ends in merge(self.bounds):
            found.update(ends.tobytes())
        return found.digest()

    @property
    def _numbers(self) -> NDArray[np.uint32]:
        return np.frombuffer(self._terms, np.uint32)

    def id(self, row: int) -> str:
        """The registration's name."""
        start = self._name_starts[row]
        return self._names[start : start + self._name_lengths[row]].decode("ascii")

    def terms(self, row: int) -> Terms:
        """What stands beside prefix and name."""
        return self._table[self._terms[row]]

    def prefix(self, row: int) -> Prefix:
        """The prefix of a row."""
        return Prefix(self.tree.network(row), self.tree.length(row))

    def row(self, row: int) -> Row:
        """All of a row."""
        return Row(self.prefix(row), self.id(row), self.terms(row))

    def find(self, address: bytes, earliest: float, latest: float, grace: float) -> int:
        """Returns the row of the longest prefix around an address that counts, or -1.

        Of two equal prefixes it is one that is not in grace.
        """
        row = self.tree.longest(address)
        if row < 0:
            return -1
        table, number = self._table, self._terms[row]
        if (
            table.valid_from[number] <= latest
            and table.valid_until[number] > earliest
            and table.gone_since[number] > earliest
        ):
            return row
        return self._find_around(row, earliest, latest, grace)

    def _find_around(
        self, row: int, earliest: float, latest: float, grace: float
    ) -> int:
        """Does what `find` does, starting at a row around the address."""
        tree, in_grace = self.tree, -1
        while row >= 0:
            if in_grace >= 0 and tree.length(row) < tree.length(in_grace):
                break
            terms = self.terms(row)
            if terms.valid_from <= latest:
                if terms.end > earliest:
                    return row
                if in_grace < 0 and terms.end + grace > earliest:
                    in_grace = row
            row = tree.parent(row)
        return in_grace

    def called(self, name: str) -> Places:
        """The rows that bear a name."""
        wanted = name.encode("ascii")
        lengths = np.frombuffer(self._name_lengths, np.uint8)
        rows = np.flatnonzero(lengths == len(wanted))
        starts = np.frombuffer(self._name_starts, np.uint32)[rows].astype(np.int64)
        letters = np.frombuffer(self._names, np.uint8)
        for place, letter in enumerate(wanted):  # most are out after the first few
            same = letters[starts + place] == letter
            rows, starts = rows[same], starts[same]
        return rows

    def within(self, prefix: Prefix) -> slice:
        """The rows of the prefixes that lie in one, itself not among them."""
        # They stand together, behind the prefix itself, wherever that would be.
        mask = host_masks(self.family)[prefix.length].tobytes()
        end = bytes(a | b for a, b in zip(prefix.network, mask, strict=True))
        rows, tree = range(len(self)), self.tree
        start = bisect_right(
            rows, tuple(prefix), key=lambda row: (tree.network(row), tree.length(row))
        )
        return slice(start, bisect_right(rows, end, start, key=tree.network))

    @property
    def ends(self) -> Moments:
        """When each row stops being in force."""
        return self._table.ends[self._numbers]

    def standing(self, span: Span, grace: float, rows: slice | Places = _ALL) -> Flags:
        """For each row whether it is valid anywhere in a span, `grace` added."""
        return self._table.standing(span, grace)[self._numbers[rows]]

    @property
    def left(self) -> Flags:
        """For each row whether it has left the registry, whatever moment that was."""
        return self._table.left[self._numbers]

    def next_change(self, span: Span, grace: float) -> float:
        """The first moment after a span at which a row begins, or stops, to count."""
        mine = self._numbers
        turns = self._table.begins[mine], self._table.ends[mine] + grace
        return min(float(np.min(t[t > span.latest], initial=NEVER)) for t in turns)

    def ending(self, span: Span, within: float) -> int:
        """How many rows are in force now and end in the next `within` seconds."""
        return int(np.count_nonzero(self._table.ending(span, within)[self._numbers]))

    def in_grace(self, span: Span, grace: float) -> int:
        """How many rows have ended, and stand for their `grace` alone."""
        flags = self._table.in_grace(span, grace)
        return int(np.count_nonzero(flags[self._numbers])) if flags.any() else 0

    def fingerprints(self) -> Keys:
        """For each row a key that is equal where everything in the row is.

        Names and tunnel lists enter by a hash of 64 bits, good for this process.
        """
        names, table, mine = self._names, self._table, self._numbers
        hashes = [
            hash(names[start : start + length])
            for start, length in zip(self._name_starts, self._name_lengths, strict=True)
        ]
        columns = [np.array(hashes, np.int64), *(c[mine] for c in table.columns)]
        octets = [column.view(np.uint8).reshape(-1, 8) for column in columns]
        return keys(
            np.hstack([self.tree.networks, self.tree.lengths[:, None], *octets])
        )

    def covered(self, span: Span, grace: float) -> Bounds:
        """The prefixes that stand and lie in no other that does."""
        chosen = self.tree.outermost(self.standing(span, grace))
        first, last = self.bounds
        return Bounds(first[chosen], last[chosen])


class Roll(NamedTuple):
    """Registrations of both families."""

    ipv4: Entries
    ipv6: Entries

    def of(self, family: Family) -> Entries:
        """Those of one family."""
        return self.ipv4 if family is Family.IPV4 else self.ipv6

    def around(self, address: bytes) -> Entries:
        """Those of an address's family."""
        return self.ipv4 if len(address) == 4 else self.ipv6  # noqa: PLR2004  # bytes in IPv4


class Draft:
    """Registrations on their way into a roll, in any order, of both families."""

    def __init__(self) -> None:
        self._table = TermsTable()
        # By the length of a packed prefix.
        self._records = {family.width + 1: bytearray() for family in Family}
        self._names = {family.width + 1: bytearray() for family in Family}

    def note(self, terms: Terms) -> bytes:
        """Returns terms as `add` takes them; ValueError for a tunnel list too many."""
        return self._table.add(terms).to_bytes(_NUMBER, byteorder)

    def add(self, prefix: bytes, name: str, terms: bytes) -> None:
        """One more: network and length in bytes, ASCII name up to 255, noted terms."""
        size = len(prefix)
        self._records[size] += prefix + terms + _NAME_LENGTHS[len(name)]
        self._names[size] += name.encode("ascii")

    def roll(self) -> Roll:
        """The roll. The draft is spent with it."""
        return Roll(
            *(
                Entries(
                    family,
                    self._records.pop(family.width + 1),
                    bytes(self._names.pop(family.width + 1)),
                    self._table,
                )
                for family in Family
            )
        )


def draw_up(rows: Iterable[Row] = ()) -> Roll:
    """A roll of registrations in any order."""
    draft = Draft()
    for prefix, name, terms in rows:
        draft.add(prefix.packed, name, draft.note(terms))
    return draft.roll()


def rows_of_roll(roll: Roll) -> Iterator[Row]:
    """Every registration of a roll, in order."""
    for entries in roll:
        for row in range(len(entries)):
            yield entries.row(row)
