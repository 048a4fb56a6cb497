# SPDX-License-Identifier: GPL-2.0-or-later
"""The registrations of one family: a prefix tree and a record for each of its rows.

Knows what stands in a registry about a prefix, and whether it stands at a moment;
does not know where it was written, or what else a registry says.

A record is a row of bytes: network, prefix length, terms, and the length of the
registration's name; the names stand one after the other in a text of their own. A
million registrations are a few large pieces of memory and no objects.
"""

import struct
from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vpngate.packets import Family
from vpngate.registry.intervals import Bounds, Flags, Keys, Rows, keys
from vpngate.registry.moments import ALWAYS, NEVER, Span
from vpngate.registry.prefixes import Prefix
from vpngate.registry.tree import PrefixTree, Tree4, Tree6, preorder

# Number of the tunnel list, then valid_from, valid_until, gone_since.
_TERMS = struct.Struct("=Hddd")
_unpack_terms = _TERMS.unpack_from
_MOMENTS = np.dtype(
    [("list", "=u2"), ("since", "=f8"), ("until", "=f8"), ("gone", "=f8")]
)
_NAME_LENGTHS = [bytes([length]) for length in range(256)]


class Terms(NamedTuple):
    """What a registration says beside its prefix and its name.

    valid_from, valid_until  ALWAYS and NEVER where there is no limit
    gone_since               when the prefix was first missing; NEVER if it is there
    """

    tunnels: tuple[str, ...] = ()  # for the reader, never acted on
    valid_from: float = ALWAYS
    valid_until: float = NEVER
    gone_since: float = NEVER

    @property
    def end(self) -> float:
        """When it stops being in force."""
        return min(self.valid_until, self.gone_since)


class Row(NamedTuple):
    """One registration, whole."""

    prefix: Prefix
    id: str
    terms: Terms


class Entries:
    """The registrations of one family, rows in the order of the tree; immutable."""

    def __init__(
        self,
        family: Family,
        records: bytearray,
        names: bytes,
        tunnel_lists: tuple[tuple[str, ...], ...],
    ) -> None:
        """From records and names in the order in which they were given.

        `records` is emptied on the way: at no time do both orders need room.
        """
        self.family = family
        self._head = family.width + 1
        self._size = self._head + _TERMS.size + 1
        given = np.frombuffer(bytes(records), np.uint8).reshape(-1, self._size)
        records.clear()
        order = preorder(given[:, : self._head])
        ends = np.cumsum(given[:, -1], dtype=np.uint32)
        starts = (ends - given[:, -1])[order]
        self._name_starts = array("I", starts.astype("=u4").tobytes())
        self._names = names
        self._tunnel_lists = tunnel_lists
        self._records = given[order].tobytes()
        del given, order, ends, starts
        table = self._table
        tree = Tree4 if family is Family.IPV4 else Tree6
        self.tree: PrefixTree = tree(table[:, : family.width], table[:, family.width])

    def __len__(self) -> int:
        return len(self.tree)

    @property
    def _table(self) -> Rows:
        return np.frombuffer(self._records, np.uint8).reshape(-1, self._size)

    @property
    def _moments(self) -> NDArray[np.void]:
        columns = np.ascontiguousarray(self._table[:, self._head : -1])
        return columns.view(_MOMENTS).reshape(len(columns))

    @property
    def bounds(self) -> Bounds:
        """The first and the last address of each prefix."""
        return self.tree.bounds

    def id(self, row: int) -> str:
        """The registration's name."""
        start = self._name_starts[row]
        length = self._records[(row + 1) * self._size - 1]
        return self._names[start : start + length].decode("ascii")

    def terms(self, row: int) -> Terms:
        """What stands beside prefix and name."""
        number, *moments = _unpack_terms(self._records, row * self._size + self._head)
        return Terms(self._tunnel_lists[number], *moments)

    def prefix(self, row: int) -> Prefix:
        """The prefix of a row."""
        start = row * self._size
        head = self._records[start : start + self._head]
        return Prefix(head[:-1], head[-1])

    def row(self, row: int) -> Row:
        """All of a row."""
        return Row(self.prefix(row), self.id(row), self.terms(row))

    def find(self, address: bytes, span: tuple[float, float], grace: float) -> int:
        """The row of the longest prefix around an address that stands; -1 if none.

        Of equal prefixes, one that is not in grace.
        """
        row = self.tree.longest(address)
        if row < 0:
            return -1
        earliest, latest = span
        _, since, until, gone = _unpack_terms(
            self._records, row * self._size + self._head
        )
        if since <= latest and until > earliest and gone > earliest:
            return row
        return self._find_around(row, earliest, latest, grace)

    def _find_around(
        self, row: int, earliest: float, latest: float, grace: float
    ) -> int:
        """`find`, from a row that encloses the address up."""
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

    def standing(self, span: Span, grace: float) -> Flags:
        """For each row whether it is valid anywhere in a span, `grace` added."""
        moments = self._moments
        ends = np.minimum(moments["until"], moments["gone"]) + grace
        flags: Flags = (moments["since"] <= span.latest) & (ends > span.earliest)
        return flags

    def next_change(self, span: Span, grace: float) -> float:
        """The first moment after a span at which a row begins to stand, or ceases."""
        moments = self._moments
        ends = np.minimum(moments["until"], moments["gone"]) + grace
        turns = np.concatenate((moments["since"], ends))
        return float(np.min(turns[turns > span.latest], initial=NEVER))

    def ending(self, span: Span, within: float) -> int:
        """How many rows are in force now and end in the next `within` seconds."""
        soon = self._moments["until"] <= span.latest + within
        return int(np.count_nonzero(soon & self.standing(span, 0.0)))

    def fingerprints(self) -> Keys:
        """For each row a key that is equal where everything in the row is.

        Names and tunnel lists enter by a hash of 64 bits, good for this process.
        """
        names, starts = self._names, [*self._name_starts]
        sizes = self._table[:, -1].tolist()
        hashes = [
            hash(names[start : start + size])
            for start, size in zip(starts, sizes, strict=True)
        ]
        lists = np.array([hash(names) for names in self._tunnel_lists] or [0], np.int64)
        moments = self._moments
        columns = [
            np.array(hashes, np.int64),
            lists[moments["list"]],
            moments["since"],
            moments["until"],
            moments["gone"],
        ]
        octets = [
            np.ascontiguousarray(column).view(np.uint8).reshape(-1, 8)
            for column in columns
        ]
        return keys(np.hstack([self._table[:, : self._head], *octets]))

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

    MAX_TUNNEL_LISTS = 2**16

    def __init__(self) -> None:
        self._tunnel_lists: dict[tuple[str, ...], int] = {}
        # By the length of a packed prefix.
        self._records = {family.width + 1: bytearray() for family in Family}
        self._names = {family.width + 1: bytearray() for family in Family}

    def pack(self, terms: Terms) -> bytes:
        """Terms as `add` takes them; ValueError if they have a tunnel list too many."""
        lists = self._tunnel_lists
        if terms.tunnels not in lists and len(lists) == self.MAX_TUNNEL_LISTS:
            raise ValueError(f"more than {self.MAX_TUNNEL_LISTS} different lists")
        return _TERMS.pack(lists.setdefault(terms.tunnels, len(lists)), *terms[1:])

    def add(self, prefix: bytes, name: str, terms: bytes) -> None:
        """One more: network and length in bytes, ASCII name up to 255, packed terms."""
        size = len(prefix)
        self._records[size] += prefix + terms + _NAME_LENGTHS[len(name)]
        self._names[size] += name.encode("ascii")

    def roll(self) -> Roll:
        """The roll. The draft is spent with it."""
        lists = tuple(self._tunnel_lists)
        return Roll(
            *(
                Entries(
                    family,
                    self._records.pop(family.width + 1),
                    bytes(self._names.pop(family.width + 1)),
                    lists,
                )
                for family in Family
            )
        )


def draw_up(rows: Iterable[Row] = ()) -> Roll:
    """A roll of registrations in any order."""
    draft = Draft()
    for prefix, name, terms in rows:
        draft.add(prefix.packed, name, draft.pack(terms))
    return draft.roll()


def rows_of_roll(roll: Roll) -> Iterator[Row]:
    """Every registration of a roll, in order."""
    for entries in roll:
        for row in range(len(entries)):
            yield entries.row(row)
