# SPDX-License-Identifier: GPL-2.0-or-later
"""What registrations say beside their prefix and their name.

Knows terms, and whether they hold at a moment; does not know whose they are.

The terms of a registry stand in a table, in columns of numbers: few different ones
in most registries, one a row in some. A registration has the number of its own.
"""

from array import array
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vpngate.prefixes.rows import Flags
from vpngate.timekeeping.moments import ALWAYS, NEVER, Span

Moments = NDArray[np.float64]


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


class TermsTable:
    """Terms by number, from 0; a row of a column each.

    valid_from, valid_until, gone_since  columns, to be read only
    """

    MAX_TUNNEL_LISTS = 2**12

    def __init__(self) -> None:
        self._tunnel_lists: list[tuple[str, ...]] = []
        self._known: dict[tuple[str, ...], int] = {}  # their places in the list
        self._lists = array("H")
        self.valid_from = array("d")
        self.valid_until = array("d")
        self.gone_since = array("d")

    def __getitem__(self, number: int) -> Terms:
        return Terms(
            self._tunnel_lists[self._lists[number]],
            self.valid_from[number],
            self.valid_until[number],
            self.gone_since[number],
        )

    def add(self, terms: Terms) -> int:
        """Returns the terms' number; ValueError for a tunnel list too many.

        Nothing is added once a column has been looked at as a whole.
        """
        tunnels, valid_from, valid_until, gone_since = terms
        self._lists.append(self._place_of(tunnels))
        self.valid_from.append(valid_from)
        self.valid_until.append(valid_until)
        self.gone_since.append(gone_since)
        return len(self._lists) - 1

    def _place_of(self, tunnels: tuple[str, ...]) -> int:
        place = self._known.get(tunnels)
        if place is None:
            place = len(self._tunnel_lists)
            if place == self.MAX_TUNNEL_LISTS:
                raise ValueError(f"more than {place} different lists")
            self._known[tunnels] = place
            self._tunnel_lists.append(tunnels)
        return place

    @property
    def begins(self) -> Moments:
        """When each begins to be valid."""
        return np.frombuffer(self.valid_from)

    @property
    def ends(self) -> Moments:
        """When each stops being in force."""
        ends: Moments = np.minimum(
            np.frombuffer(self.valid_until), np.frombuffer(self.gone_since)
        )
        return ends

    @property
    def columns(self) -> tuple[NDArray[np.generic], ...]:
        """Returns all columns; tunnel lists as a hash that is valid in this process."""
        hashes = np.array([hash(names) for names in self._tunnel_lists], np.int64)
        return (
            hashes[np.frombuffer(self._lists, np.uint16)],
            np.frombuffer(self.valid_from),
            np.frombuffer(self.valid_until),
            np.frombuffer(self.gone_since),
        )

    def standing(self, span: Span, grace: float) -> Flags:
        """For each whether it is valid anywhere in a span, `grace` added."""
        began = self.begins <= span.latest
        flags: Flags = began & (self.ends + grace > span.earliest)
        return flags

    @property
    def left(self) -> Flags:
        """For each whether it has left the registry, whatever moment that was."""
        flags: Flags = np.frombuffer(self.gone_since) < NEVER
        return flags

    def in_grace(self, span: Span, grace: float) -> Flags:
        """For each whether it has ended, and stands for its `grace` alone."""
        over: Flags = self.ends <= span.earliest
        return over & self.standing(span, grace)

    def ending(self, span: Span, within: float) -> Flags:
        """For each whether it is in force now and ends in the next `within` seconds."""
        soon = np.frombuffer(self.valid_until) <= span.latest + within
        return soon & self.standing(span, 0.0)
