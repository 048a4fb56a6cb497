# SPDX-License-Identifier: GPL-2.0-or-later
"""The table without any cleverness: every question by itself, one after the other.

What the dispatch and its trees are compared with, packet by packet. What stands behind
a verdict and behind a signature is the table's own.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from tests.unit.signatures.plain_rules import rules_of
from vpngate.expressions import (
    Base,
    Compare,
    CompareOp,
    Lookup,
    NamedCounter,
    Payload,
    Rule,
)
from vpngate.packets import Direction, Family, HookPoint
from vpngate.recognition import Carrier
from vpngate.ruleset import Ruleset, matching, names
from vpngate.ruleset.composition import compose, hook_of
from vpngate.ruleset.table import Chain, Line, Table

_KEPT = ("copy", "sample", "address")  # of the chains that are a hook's own


def plain_table(ruleset: Ruleset) -> Table:
    """The table that does what `ruleset` says, as its rules would read if written out.

    `ruleset` has to be enforcing.
    """
    table = compose(ruleset)
    kept = tuple(one for one in table.chains if _is_kept(one.name))
    bases = [one for one in table.chains if one.hook]
    made = chain.from_iterable(
        (
            _verdicts(direction, ruleset),
            _searching(hook_of(direction, ruleset), ruleset),
        )
        for direction in Direction
    )
    hooked = tuple(_hooked(base, ruleset) for base in bases)
    return replace(table, chains=(*kept, *made, *hooked))


def _is_kept(name: str) -> bool:
    first, _, rest = name.partition("_")
    of_a_hook = first in {names.base(point) for point in HookPoint}
    return not of_a_hook or rest.startswith(_KEPT)


def _hooked(base: Chain, ruleset: Ruleset) -> Chain:
    assert base.hook is not None
    point = base.hook.point
    (direction,) = (one for one in Direction if hook_of(one, ruleset) is point)
    lines = (
        Line((NamedCounter(names.traffic_counter(direction)),), ""),
        Line((matching.jump(_asking(direction)),), ""),
        Line((matching.goto(_searched(point)),), ""),
    )
    return replace(base, lines=lines)


def _verdicts(direction: Direction, ruleset: Ruleset) -> Chain:
    return Chain(
        _asking(direction),
        tuple(
            Line(_verdict(direction, family, carrier), "")
            for family in Family
            for carrier in ruleset.carriers
        ),
    )


def _verdict(direction: Direction, family: Family, carrier: Carrier) -> Rule:
    transport = carrier.transport
    behind = matching.KEY + 2 * family.width // 4
    ports = (Payload(Base.TRANSPORT, 0, 4, behind),) if transport.has_ports else ()
    return (
        *matching.of_family(family),
        *matching.of_carrier(carrier),
        *(matching.address_pair(family), *ports),
        Lookup(
            names.verdict_map(direction, family, transport),
            *(matching.KEY, matching.VALUE),
        ),
        Compare(bytes(4), CompareOp.NEQ, matching.VALUE),
        matching.goto(names.throttle(direction, family)),
    )


def _searching(point: HookPoint, ruleset: Ruleset) -> Chain:
    def lines() -> Iterator[Line]:
        # Those that ask for a port last, as the tree does.
        for signature in sorted(ruleset.signatures, key=lambda one: bool(one.ports)):
            copies = matching.jump(names.copies(point, signature.name))
            for rule in rules_of(signature):
                yield Line((*rule, copies), "")

    return Chain(_searched(point), tuple(lines()))


def _asking(direction: Direction) -> str:
    return f"asking_{direction}"


def _searched(point: HookPoint) -> str:
    return f"searched_{names.base(point)}"
