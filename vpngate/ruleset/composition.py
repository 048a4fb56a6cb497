# SPDX-License-Identifier: GPL-2.0-or-later
"""From a ruleset to the whole netdev table.

Knows which chains and sets a mode needs and how they hang together; does not know
what the kernel holds, nor how any of it is sent there.
"""

from collections.abc import Iterator
from itertools import product

from vpngate.packets import Direction, Family, HookPoint
from vpngate.ruleset import (
    Ruleset,
    copying,
    dispatch,
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


def verdict_lines(ruleset: Ruleset) -> dict[str, Line]:
    """By chain, the lines that ask for verdicts: they may go while none lives.

    Each stands first in its chain, and no other of that chain is called the same.
    """
    if not ruleset.enforce:
        return {}
    return {
        chain: line
        for direction in Direction
        for chain, line in dispatch.verdict_lines(
            direction, hook_of(direction, ruleset), ruleset
        )
    }


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
    copied = {chain.name: chain for chain in copying.copy_chains(ruleset)}
    searches = {} if not ruleset.enforce else _taken_out(copied, ruleset)
    yield from copied.values()
    for direction in Direction:
        point = hook_of(direction, ruleset)
        if ruleset.enforce:
            yield from throttling.throttle_chains(
                direction,
                ruleset.carriers,
                watching=tuple(copying.watching_lines(ruleset, point)),
            )
            yield from dispatch.flow_chains(direction, point, ruleset, searches[point])
        lines = tuple(dispatch.base_lines(direction, point, ruleset))
        for number, devices in enumerate(_shares(ruleset.interfaces), start=1):
            hook = Hook(point, ruleset.hook_priority, devices)
            yield Chain(names.base(point, number), lines, hook)


def _taken_out(
    copied: dict[str, Chain], ruleset: Ruleset
) -> dict[HookPoint, dispatch.Searches]:
    """What asks for each transport's signatures, to stand behind its verdicts."""
    transports = {signature.transport for signature in ruleset.signatures}
    return {
        point: {
            transport: copied.pop(names.transport_candidates(point, transport)).lines
            for transport in transports
        }
        for point in HookPoint
    }


def _shares(interfaces: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The interfaces, as many at a time as a base chain takes."""
    for start in range(0, len(interfaces), names.MOST_DEVICES):
        yield interfaces[start : start + names.MOST_DEVICES]
