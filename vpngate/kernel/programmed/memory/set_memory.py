# SPDX-License-Identifier: GPL-2.0-or-later
"""The spared addresses that programs search, asked for in the kernel's own memory.

Knows how an array of bounds answers for an address; does not know how it got there.
Nothing is copied: of a million bounds a search looks at twenty.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vpngate.kernel.bpf.maps import Map
from vpngate.kernel.bpf.spared_arrays import WIDTHS, Few, Searched
from vpngate.packets import Family
from vpngate.prefixes.rows import Rows

# As they stand there, so that they are compared as numbers are; and as they travel.
_WORDS = {
    Family.IPV4: np.dtype("<u4"),
    Family.IPV6: np.dtype([("upper", "<u8"), ("lower", "<u8")]),
}
_TRAVELLING = {
    Family.IPV4: np.dtype(">u4"),
    Family.IPV6: np.dtype([("upper", ">u8"), ("lower", ">u8")]),
}


class ReadBounds(NamedTuple):
    """Sorted bounds as the kernel has them, in one part or more.

    The last of a part is none: it tells how many of it are.
    """

    family: Family
    parts: tuple[NDArray[Any], ...]

    def starts(self, addresses: Rows) -> list[bytes | None]:
        """For each address, where the interval around it begins; None outside."""
        found: list[bytes | None] = [None] * len(addresses)
        asked = _numbers(self.family, addresses)
        for part, many in self._filled():
            places = np.searchsorted(part, asked, side="right")
            inside = np.minimum(places, many) % 2
            for number in np.flatnonzero(inside).tolist():
                start = part[min(int(places[number]), many) - 1 :][:1]
                found[number] = start.astype(_TRAVELLING[self.family]).tobytes()
        return found

    def tally(self) -> int:
        """How many intervals end below the highest address."""
        return sum(many // 2 for _, many in self._filled())

    def _filled(self) -> list[tuple[NDArray[Any], int]]:
        """The bounds of each part."""
        field = "lower" if self.family is Family.IPV6 else ()
        many = (int(part[-1:][field][0]) for part in self.parts)
        return [(part[:one], one) for part, one in zip(self.parts, many, strict=True)]


def of_large(family: Family, searched: Searched) -> ReadBounds:
    """What the maps of a family hold."""
    return ReadBounds(family, tuple(_part(family, one) for one in searched.maps))


def of_few(family: Family, few: Few, number: int) -> ReadBounds:
    """What one of the small sets holds of a family."""
    part = _part(family, few.inner[number], few.at[family], 1 << few.steps)
    return ReadBounds(family, (part,))


def intervals(sets: Sequence[ReadBounds]) -> int:
    """How many end below the highest address."""
    return sum(one.tally() for one in sets)


def _part(family: Family, one: Map, at: int = 0, count: int = -1) -> NDArray[Any]:
    """The kernel's memory itself, for as long as the array is there."""
    memory = one.mapped(writable=False)
    if count < 0:
        count = one.layout.value // WIDTHS[family]
    return np.frombuffer(memory, _WORDS[family], count, at)


def _numbers(family: Family, addresses: Rows) -> NDArray[Any]:
    rows = np.ascontiguousarray(addresses).view(_TRAVELLING[family]).ravel()
    return rows.astype(_WORDS[family])
