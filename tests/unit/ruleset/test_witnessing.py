# SPDX-License-Identifier: GPL-2.0-or-later
"""The witness asks what throttling asks, throws the switch, and tells no byte."""

import sys
from itertools import product

import pytest

from tests import rulesets
from vpngate.expressions import (
    ChainVerdict,
    Compare,
    DynamicSet,
    Immediate,
    Limit,
    LogPacket,
    Lookup,
    SetOperation,
    VerdictCode,
)
from vpngate.packets import Family, HookPoint
from vpngate.ruleset import names, witnessing
from vpngate.ruleset.composition import compose
from vpngate.ruleset.matching import ETHERTYPE
from vpngate.ruleset.registered import Use, entrance_chain, part_chain
from vpngate.ruleset.table import Chain

each_family = pytest.mark.parametrize("family", Family)


def steps(chain: Chain) -> list[object]:
    return [step for line in chain.lines for step in line.rule]


@each_family
@pytest.mark.parametrize("parts", [1, 7])
def test_it_asks_the_registered_sets_that_throttling_asks(
    family: Family, parts: int
) -> None:
    def asked(use: Use) -> list[tuple[object, ...]]:
        if parts == 1:
            chains = [entrance_chain(use, family, 3, parts)]
        else:
            chains = [part_chain(use, family, 3, part) for part in range(1, parts + 1)]
        return [line.rule[:2] for chain in chains for line in chain.lines]

    assert asked(Use.WITNESS) == asked(Use.THROTTLE)


@each_family
def test_one_packet_throws_the_switch_for_both_families(family: Family) -> None:
    chain = dict(zip(Family, witnessing.found_chains(7), strict=True))[family]
    thrown = {
        load.value
        for line in chain.lines
        for load, change in product(line.rule, line.rule)
        if isinstance(load, Immediate) and isinstance(change, DynamicSet)
        if change.set_name == names.ARMED
        if change.operation is SetOperation.DELETE
        if change.key_register == load.register
    }
    assert thrown == set(ETHERTYPE.values())
    # Nothing that may end a rule stands before that.
    first = next(n for n, step in enumerate(steps(chain)) if isinstance(step, Limit))
    assert not any(isinstance(step, Lookup) for step in steps(chain)[:first])


def test_whoever_is_told_gets_a_word_and_no_packet() -> None:
    chains = [*witnessing.found_chains(7), *witnessing.watching_chains()]
    told = [s for chain in chains for s in steps(chain) if isinstance(s, LogPacket)]
    assert told == [LogPacket(7, witnessing.WORD)] * len(Family)


@each_family
def test_after_a_change_it_says_nothing(family: Family) -> None:
    chain = dict(zip(Family, witnessing.watching_chains(), strict=True))[family]
    rule = chain.lines[0].rule
    assert Lookup(names.SETTLING) in rule
    assert rule[-1] == ChainVerdict(VerdictCode.ACCEPT)


def test_every_packet_goes_on_its_way() -> None:
    chains = [*witnessing.found_chains(7), *witnessing.watching_chains()]
    codes = {
        step.code
        for chain in chains
        for step in steps(chain)
        if isinstance(step, ChainVerdict)
    }
    assert codes == {VerdictCode.ACCEPT, VerdictCode.GOTO, VerdictCode.JUMP}


def test_at_an_ifb_only_what_our_rules_sent_there_counts() -> None:
    chain = witnessing.base_chain(3, "ifb-t.3", 0x7667)
    assert chain.hook is not None
    assert (chain.hook.point, chain.hook.devices) == (HookPoint.EGRESS, ("ifb-t.3",))
    for line in chain.lines:
        compared = [s.value for s in line.rule if isinstance(s, Compare)]
        assert int.from_bytes(compared[0], sys.byteorder) == 0x76670000


def test_its_chains_stay_when_rules_are_exchanged() -> None:
    chains = [*witnessing.found_chains(7), *witnessing.watching_chains()]
    chains.append(witnessing.base_chain(3, "ifb-t.3", 0x7667))
    assert all(names.is_lasting(chain.name) for chain in chains)
    assert not any(names.is_base(chain.name) for chain in chains)
    others = {c.name for c in compose(rulesets.RULESET).chains if c.hook is not None}
    assert not any(map(names.is_lasting, others))
