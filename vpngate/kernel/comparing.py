# SPDX-License-Identifier: GPL-2.0-or-later
"""The comparison of every spared or protected interval with the kernel's.

Knows how a few at a time become the whole; does not know how the kernel is asked, nor
what becomes of what differs.
"""

import asyncio
from typing import NamedTuple, Protocol

from vpngate.kernel.lanes import Lanes
from vpngate.kernel.plane import Comparison
from vpngate.kernel.table.readback import Compared
from vpngate.packets import Family


class Comparable(Protocol):
    """Sets of intervals that are compared a few at a time."""

    def compare(self, family: Family, after: bytes | None) -> Compared:
        """Compare those that end behind an address, a few of them."""
        ...

    def surplus(self, family: Family) -> int | None:
        """How many the kernel has beyond those that it should; None: unknown."""
        ...


class Found(NamedTuple):
    """What a comparison of the intervals of one family has shown."""

    compared: int
    differing: int
    surplus: int | None


async def found(lanes: Lanes, sets: Comparable, changing: asyncio.Lock) -> list[Found]:
    """What differs between sets and the kernel's, by family.

    Whoever changes them in several steps holds `changing` meanwhile: what is there
    between two of these is neither what was nor what will be.
    """
    return [await _found(lanes, sets, family, changing) for family in Family]


async def _found(
    lanes: Lanes, sets: Comparable, family: Family, changing: asyncio.Lock
) -> Found:
    compared = differing = 0
    last: bytes | None = None
    while True:
        async with changing:
            few = await lanes.do(sets.compare, family, last)
        compared += few.compared
        differing += few.differing
        last = few.last
        if last is None:
            break
    async with changing:
        surplus = None if differing else await lanes.do(sets.surplus, family)
    return Found(compared, differing, surplus)


def together(one: list[Found], other: list[Found]) -> Comparison:
    """The comparison of two kinds of sets as one."""
    compared, differing = dict[str, int](), dict[str, int]()
    surplus = dict[str, int | None]()
    for family, here, there in zip(Family, one, other, strict=True):
        compared[family.label] = here.compared + there.compared
        differing[family.label] = here.differing + there.differing
        unknown = here.surplus is None or there.surplus is None
        surplus[family.label] = (
            None if unknown else (here.surplus or 0) + (there.surplus or 0)
        )
    return Comparison(compared, differing, surplus)
