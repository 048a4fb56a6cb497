# SPDX-License-Identifier: GPL-2.0-or-later
"""The spared addresses that programs search, read back from the kernel's own memory.

Knows how an array of bounds answers for an address; does not know how it got there.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vpngate.kernel.bpf.maps import Map
from vpngate.kernel.bpf.spared_arrays import WIDTHS, Few, Searched
from vpngate.packets import Family
from vpngate.prefixes.rows import Keys, Rows, keys


class ReadBounds(NamedTuple):
    """Bounds as the kernel has them: rows, without what fills the rest."""

    bounds: Keys

    def start(self, address: bytes) -> bytes | None:
        """Where the interval around an address begins; None outside of all."""
        place = int(np.searchsorted(self.bounds, np.bytes_(address), side="right"))
        if not place % 2:
            return None
        width = self.bounds.dtype.itemsize
        return bytes(self.bounds[place - 1]).ljust(width, b"\0")


def of_large(family: Family, searched: Searched) -> ReadBounds:
    """What the maps of a family hold."""
    parts = [_rows(family, _all_of(one)) for one in searched.maps]
    return ReadBounds(keys(np.concatenate(parts)))


def of_few(family: Family, few: Few, number: int) -> ReadBounds:
    """What one of the small sets holds of a family."""
    start, size = few.at[family], WIDTHS[family] << few.steps
    return ReadBounds(
        keys(_rows(family, _all_of(few.inner[number])[start : start + size]))
    )


def starts(found: ReadBounds, addresses: Rows) -> list[bytes | None]:
    """For each address, where its interval begins."""
    return [found.start(row.tobytes()) for row in addresses]


def intervals(sets: Sequence[ReadBounds]) -> int:
    """How many end below the highest address."""
    return sum(len(one.bounds) // 2 for one in sets)


def _all_of(one: Map) -> bytes:
    with one.mapped(writable=False) as memory:
        return memory[:]


def _rows(family: Family, memory: bytes) -> Rows:
    """As addresses in network order; the highest of all fills what is left."""
    kind = "<u4" if family is Family.IPV4 else "<u8"
    words = np.frombuffer(memory, kind).byteswap()
    rows: Rows = words.view(np.uint8).reshape(-1, family.width)
    highest = np.full(family.width, np.iinfo(np.uint8).max, np.uint8)
    held: Rows = rows[(rows != highest).any(axis=1)]
    return held
