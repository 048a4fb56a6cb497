# SPDX-License-Identifier: GPL-2.0-or-later
"""Chains of the decision tree: every branch that leads on has one, made before it."""

from dataclasses import replace

from tests import rulesets
from vpngate.expressions import ChainVerdict
from vpngate.packets import HookPoint, Transport
from vpngate.ruleset import names
from vpngate.ruleset.copying import copy_chains
from vpngate.ruleset.matching import jump
from vpngate.signatures import Field, Shape, Signature

COOKIE = Field(4, b"\x21\x12\xa4\x42")
FORKED = Signature(
    "forked",
    Transport.UDP,
    tuple(Shape((Field(0, bytes((kind,))), COOKIE)) for kind in (1, 2, 3)),
    frozenset({500}),
    fragments=True,
)

RULESET = replace(rulesets.RULESET, signatures=(FORKED,))


def test_a_chain_stands_behind_those_it_jumps_to() -> None:
    known: list[str] = []
    for chain in copy_chains(RULESET, 1):
        for line in chain.lines:
            for step in line.rule:
                if isinstance(step, ChainVerdict) and step.chain is not None:
                    assert step.chain in known
        known.append(chain.name)
    assert len(known) == len(set(known))


def test_both_ends_ports_lead_to_every_shape_by_one_chain() -> None:
    chains = {chain.name: chain for chain in copy_chains(RULESET, 1)}
    entrance = names.transport_candidates(HookPoint.EGRESS, Transport.UDP)
    assert [line.comment for line in chains[entrance].lines] == ["3 ways to go on"] * 2
    shared = f"{entrance}_1"
    assert [line.rule[-1] for line in chains[entrance].lines] == [jump(shared)] * 2
    copies = [jump(names.copies(HookPoint.EGRESS, "forked"))] * 3
    assert [way.rule[-1] for way in chains[shared].lines] == copies
