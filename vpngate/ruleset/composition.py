# SPDX-License-Identifier: GPL-2.0-or-later
"""From a ruleset to the whole netdev table.

Knows which chains and sets a mode needs and how they hang together; does not know
what the kernel holds, nor how any of it is sent there.
"""

from collections.abc import Iterator
from itertools import product

from vpngate.expressions import NamedCounter
from vpngate.packets import Direction, Family, HookPoint
from vpngate.ruleset import (
    Ruleset,
    copying,
    matching,
    names,
    registered,
    sharing,
    throttling,
    witnessing,
)
from vpngate.ruleset.table import Chain, Hook, Line, Set, Table

_FIRST = 1  # generation of the registered addresses


def hook_of(direction: Direction, ruleset: Ruleset) -> HookPoint:
    """Where packets of a direction are seen: uploads come in from subscribers."""
    inward = Direction.UPLOAD if ruleset.subscriber_side else Direction.DOWNLOAD
    return HookPoint.INGRESS if direction is inward else HookPoint.EGRESS


def compose(ruleset: Ruleset) -> Table:
    """The table that does what `ruleset` says.

    The registered addresses are in one set a family, as they are while they are few;
    of many each has a part (`registered`), and the rest of the table is the same. What
    verdicts, spared, protected and armed sets contain is not part of it, nor is what
    stands at the ifbs (`witnessing.base_chain`): they come and go by themselves.
    """
    return Table(
        ruleset.table,
        sets=(
            *lasting_sets(ruleset),
            *(registered.part_set(family, _FIRST) for family in Family),
            *copying.sampled_sets(ruleset.signatures),
            *sharing.address_sets(ruleset),
        ),
        counters=(
            *map(names.traffic_counter, Direction),
            *map(names.throttled_counter, Direction),
            *map(names.spared_counter, Family),
            *map(names.witness, Family),
            names.REVERSE_PATH_FAILED,
            *names.HELD_BACK,
        ),
        chains=tuple(_chains(ruleset)),
    )


def lasting_sets(ruleset: Ruleset) -> tuple[Set, ...]:
    """The sets that are made once and survive every change of rules."""
    return (
        throttling.armed_set(ruleset.deadman),
        *throttling.protected_sets(),
        *throttling.verdict_maps(ruleset.carriers, ruleset.max_flows),
        *witnessing.lasting_sets(),
    )


def first_chains(ruleset: Ruleset) -> Iterator[Chain]:
    """The chains that those which ask for registered addresses lead to."""
    return witnessing.found_chains(ruleset.nflog_group)


def _chains(ruleset: Ruleset) -> Iterator[Chain]:
    yield from first_chains(ruleset)
    for use, family in product(registered.Use, Family):
        yield registered.entrance_chain(use, family, _FIRST, parts=1)
    yield from witnessing.watching_chains()
    yield from copying.copy_chains(ruleset)
    for direction in Direction:
        point = hook_of(direction, ruleset)
        if ruleset.enforce:
            carriers = ruleset.carriers
            yield from throttling.throttle_chains(
                direction,
                carriers,
                watching=tuple(copying.watching_lines(ruleset, point)),
            )
            yield from throttling.verdict_chains(direction, carriers)
        lines = tuple(_base_lines(direction, ruleset))
        for number, devices in enumerate(_shares(ruleset.interfaces), start=1):
            hook = Hook(point, ruleset.hook_priority, devices)
            yield Chain(names.base(point, number), lines, hook)


def _shares(interfaces: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The interfaces, as many at a time as a base chain takes."""
    for start in range(0, len(interfaces), names.MOST_DEVICES):
        yield interfaces[start : start + names.MOST_DEVICES]


def _base_lines(direction: Direction, ruleset: Ruleset) -> Iterator[Line]:
    yield Line(
        (NamedCounter(names.traffic_counter(direction)),),
        f"{direction}: everything",
    )
    if ruleset.enforce:
        for family in Family:
            yield Line(
                (
                    *matching.of_family(family),
                    matching.jump(names.verdicts(direction, family)),
                ),
                f"{direction}: flows that have a verdict",
            )
    yield Line(
        (matching.goto(names.candidates(hook_of(direction, ruleset))),),
        f"{direction}: the rest, in search of handshakes",
    )
