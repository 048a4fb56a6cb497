# SPDX-License-Identifier: GPL-2.0-or-later
"""What a look at the machine finds, as data.

Knows what is told of it; does not know how it is found.
"""

from dataclasses import dataclass
from typing import NamedTuple

from netaddr import IPNetwork

from vpngate.errors import Problem


class LeftAlone(NamedTuple):
    """An interface that the configuration means and that is not attached."""

    interface: str
    what: str
    remedy: str
    awaited: bool = False  # one that is not there

    @property
    def reason(self) -> str:
        """Why, and what to do."""
        return f"{self.what}; {self.remedy}"

    def __str__(self) -> str:
        return f"interface {self.interface}: left alone, since {self.reason}"


@dataclass(frozen=True)
class Machine:
    """The machine as far as it matters: where to attach, and its own addresses."""

    interfaces: tuple[str, ...] = ()
    addresses: frozenset[bytes] = frozenset()
    left_alone: tuple[LeftAlone, ...] = ()
    forgeable: tuple[Problem, ...] = ()  # why nobody may be slowed here
    networks: frozenset[IPNetwork] = frozenset()  # where subscribers are known to be
