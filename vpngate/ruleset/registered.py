# SPDX-License-Identifier: GPL-2.0-or-later
"""The chains that ask whether an end of a packet is registered.

Knows what becomes of a packet with a registered end, and how a great many addresses
are asked about in parts: a map tells which part an address is in, and a chain asks
that part's set. Does not know how the address space is cut, or why.

One transaction changes a small set quickly, whatever the others hold. What is in
force (a generation) is turned by exchanging the rules of the entrances alone.
"""

from collections.abc import Iterator
from enum import Enum

from vpngate.expressions import VERDICT_REGISTER, Lookup, NamedCounter, Payload, Rule
from vpngate.packets import Family
from vpngate.ruleset import matching, names
from vpngate.ruleset.table import (
    Chain,
    DataType,
    Line,
    Nature,
    Set,
    address_type,
)


class Use(Enum):
    """What is asked for; the name of the chain that leads to it."""

    THROTTLE = "registered"  # a packet that has a verdict: counted, and left alone
    COPY = "not_sampled"  # a packet that would be copied: of no interest
    WITNESS = "witnessed"  # a packet at an ifb: it should not be there


def entrance(use: Use, family: Family) -> str:
    """The chain that others jump to; it comes back if no end is registered."""
    return f"{use.value}_{family.label}"


def entrance_chain(use: Use, family: Family, generation: int, parts: int) -> Chain:
    """The entrance as it asks a generation that has so many parts."""
    if parts == 1:
        lines = _asking(use, family, names.spared_set(family, generation))
    else:
        which = names.parts_map(entrance(use, family), generation)
        lines = tuple(
            Line(
                (load, Lookup(which, matching.KEY, VERDICT_REGISTER)),
                f"which part is the {end} in?",
            )
            for end, load in _ends(family)
        )
    return Chain(entrance(use, family), lines)


def part_chain(use: Use, family: Family, generation: int, part: int) -> Chain:
    """The chain that asks one part; parts are counted from 1."""
    lines = _asking(use, family, names.spared_set(family, generation, part))
    return Chain(names.part(entrance(use, family), generation, part), lines)


def parts_map(use: Use, family: Family, generation: int) -> Set:
    """From the address space to the chains of the parts."""
    return Set(
        names.parts_map(entrance(use, family), generation),
        (address_type(family),),
        Nature.INTERVALS,
        "which part of the registered addresses to ask",
        value=(DataType.VERDICT,),
    )


def part_set(family: Family, generation: int, part: int = 0) -> Set:
    """The registered addresses of a part, or all of them."""
    return Set(
        names.spared_set(family, generation, part),
        (address_type(family),),
        Nature.INTERVALS,
        "registered addresses: never throttled",
    )


def _asking(use: Use, family: Family, spared: str) -> tuple[Line, ...]:
    then, what = _then(use, family)
    return tuple(
        Line(
            (load, Lookup(spared, matching.KEY), *then),
            f"registered {end}: {what}",
        )
        for end, load in _ends(family)
    )


def _then(use: Use, family: Family) -> tuple[Rule, str]:
    """What becomes of a packet with a registered end, and in words."""
    match use:
        case Use.THROTTLE:
            counter = NamedCounter(names.spared_counter(family))
            return (counter, matching.ACCEPT), "leave alone"
        case Use.COPY:
            return (matching.ACCEPT,), "of no interest"
        case Use.WITNESS:
            return (matching.goto(names.witness_found(family)),), "a witness"


def _ends(family: Family) -> Iterator[tuple[str, Payload]]:
    yield "source", matching.source(family)
    yield "destination", matching.destination(family)
