# SPDX-License-Identifier: GPL-2.0-or-later
"""From a ruleset to the whole netdev table.

Knows which chains and sets a mode needs and how they hang together; does not know
what the kernel holds, nor how any of it is sent there.
"""

from collections.abc import Iterator

from vpngate.expressions import NamedCounter
from vpngate.packets import Direction, Family, HookPoint
from vpngate.ruleset import Ruleset, copying, matching, names, sharing, throttling
from vpngate.ruleset.table import Chain, Hook, Line, Set, Table


def hook_of(direction: Direction, ruleset: Ruleset) -> HookPoint:
    """Where packets of a direction are seen: uploads come in from subscribers."""
    inward = Direction.UPLOAD if ruleset.subscriber_side else Direction.DOWNLOAD
    return HookPoint.INGRESS if direction is inward else HookPoint.EGRESS


def compose(ruleset: Ruleset, generation: int) -> Table:
    """The table that does what `ruleset` says.

    `generation` tells which spared sets the rules ask. What verdicts, spared,
    protected and armed sets contain is not part of it.
    """
    return Table(
        ruleset.table,
        sets=(
            *lasting_sets(ruleset),
            *throttling.spared_sets(generation),
            *copying.sampled_sets(ruleset.signatures),
            *sharing.address_sets(ruleset),
        ),
        counters=(
            *map(names.traffic_counter, Direction),
            *map(names.throttled_counter, Direction),
            *map(names.spared_counter, Family),
            names.REVERSE_PATH_FAILED,
            *names.HELD_BACK,
        ),
        chains=tuple(_chains(ruleset, generation)),
    )


def lasting_sets(ruleset: Ruleset) -> tuple[Set, ...]:
    """The sets that are made once and survive every change of rules."""
    return (
        throttling.armed_set(ruleset.deadman),
        *throttling.protected_sets(),
        *throttling.verdict_maps(ruleset.carriers, ruleset.max_flows),
    )


def _chains(ruleset: Ruleset, generation: int) -> Iterator[Chain]:
    yield from copying.copy_chains(ruleset, generation)
    for direction in Direction:
        point = hook_of(direction, ruleset)
        if ruleset.enforce:
            carriers = ruleset.carriers
            yield from throttling.throttle_chains(
                direction,
                carriers,
                generation,
                watching=tuple(copying.watching_lines(ruleset, point)),
            )
            yield from throttling.verdict_chains(direction, carriers)
        if ruleset.interfaces:
            hook = Hook(point, ruleset.hook_priority, ruleset.interfaces)
            lines = tuple(_base_lines(direction, ruleset))
            yield Chain(names.base(point), lines, hook)


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
