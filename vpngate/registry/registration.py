# SPDX-License-Identifier: GPL-2.0-or-later
"""One registration as people ask about it.

Knows what it says and how long it stands; does not know the registry around it.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from vpngate.registry.columns.entries import Entries
from vpngate.registry.columns.terms import Terms
from vpngate.timekeeping.moments import ALWAYS, NEVER, format_moment


class Registration(NamedTuple):
    """What a registry says of one prefix, as it is at the moment asked about.

    Points into the registry: its fields are read when they are asked for.
    """

    entries: Entries
    row: int
    grace: float  # seconds
    asked_at: float  # seconds since the epoch; where in doubt, the earliest

    @property
    def prefix(self) -> str:
        """The prefix as people write it."""
        return str(self.entries.prefix(self.row))

    @property
    def length(self) -> int:
        """The length of the prefix in bits."""
        return self.entries.tree.length(self.row)

    @property
    def id(self) -> str:
        """The registration's opaque name."""
        return self.entries.id(self.row)

    @property
    def tunnels(self) -> tuple[str, ...]:
        """Which tunnels it is meant for: for the reader, never acted on."""
        return self._terms.tunnels

    @property
    def valid_from(self) -> float | None:
        """Seconds since the epoch; None for always."""
        return _limit(self._terms.valid_from)

    @property
    def valid_until(self) -> float | None:
        """Seconds since the epoch; None for no end."""
        return _limit(self._terms.valid_until)

    @property
    def gone_since(self) -> float | None:
        """When the registry was first without it; None if it has it."""
        return _limit(self._terms.gone_since)

    @property
    def stands_until(self) -> float | None:
        """When it stops being registered, grace included; None for no end."""
        return _limit(self._terms.end + self.grace)

    @property
    def in_grace(self) -> bool:
        """Whether it had ended when it was asked for, and stood by grace alone."""
        return self._terms.end <= self.asked_at

    @property
    def _terms(self) -> Terms:
        return self.entries.terms(self.row)

    def __str__(self) -> str:
        until = self.stands_until
        end = "" if until is None else f" until {format_moment(until)}"
        return (
            f"{self.prefix} as {self.id}{end}{' (in grace)' if self.in_grace else ''}"
        )

    def __repr__(self) -> str:
        return f"<Registration {self}>"


# The constructor at half its price, for the one place where that counts.
point_at: Callable[[tuple[Entries, int, float, float]], Registration] = partial(
    tuple.__new__, Registration
)


def _limit(moment: float) -> float | None:
    return None if moment in (ALWAYS, NEVER) else moment
