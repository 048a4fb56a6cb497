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


def compose(ruleset: Ruleset, device: int, generation: int) -> Table:
    """The table that does what `ruleset` says.

    `device` is the ifb's index (of no meaning in observe mode), `generation` tells
    which spared sets the rules ask. What verdicts, spared and armed sets contain is
    not part of it.
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
        chains=tuple(_chains(ruleset, device, generation)),
    )


def lasting_sets(ruleset: Ruleset) -> tuple[Set, ...]:
    """The sets that are made once and survive every change of rules."""
    return (
        throttling.armed_set(ruleset.deadman),
        *throttling.verdict_maps(ruleset.carriers, ruleset.max_flows),
    )


def _chains(ruleset: Ruleset, device: int, generation: int) -> Iterator[Chain]:
    yield from copying.copy_chains(ruleset, generation)
    for direction in Direction:
        point = hook_of(direction, ruleset)
        if ruleset.enforce:
            carriers = ruleset.carriers
            yield from throttling.throttle_chains(
                direction,
                carriers,
                device,
                generation,
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
