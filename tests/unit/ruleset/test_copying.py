# SPDX-License-Identifier: GPL-2.0-or-later
"""Chains of the decision tree: every branch that leads on has one, made before it."""

import re
from dataclasses import replace

from tests import rulesets
from vpngate.expressions import ChainVerdict
from vpngate.packets import HookPoint, Transport
from vpngate.ruleset import copying, names
from vpngate.ruleset.copying import copy_chains
from vpngate.ruleset.matching import jump
from vpngate.signatures import Field, Shape, Signature
from vpngate.signatures.decision import Branch

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
    for chain in copy_chains(RULESET):
        for line in chain.lines:
            for step in line.rule:
                if isinstance(step, ChainVerdict) and step.chain is not None:
                    assert step.chain in known
        known.append(chain.name)
    assert len(known) == len(set(known))


def test_chains_are_named_by_what_has_been_asked() -> None:
    made = {chain.name: chain for chain in copy_chains(rulesets.RULESET)}
    asked = ("address_share", "reverse_path")
    words = "copy|sample|whole|tcp|udp|esp|gre"
    for name in made:
        assert name.endswith(asked) or re.fullmatch(
            rf"(in|e)gress_({words})(_.+)?", name
        )
        assert not re.search(r"_\d+$|__", name), "a number says nothing"
    assert "ingress_tcp_unusual_header60_port1723" in made
    # What is asked there does not depend on how a packet came there, nor the name.
    assert "egress_whole_pptp_control" in made


def test_ways_that_are_called_alike_are_told_apart() -> None:
    alike = (
        Branch((), (Branch((), FORKED, "one"),), "same"),
        Branch((), (Branch((), FORKED, "other"),), "same"),
        Branch((), (Branch((), FORKED, "one"),), "same"),
    )
    *_, last = copying._tree(HookPoint.EGRESS, "base", alike)
    ways = [line.rule[-1] for line in last.lines]
    assert ways == [jump("base_same"), jump("base_same_2"), jump("base_same")]


def test_both_ends_ports_lead_to_every_shape_by_one_chain() -> None:
    chains = {chain.name: chain for chain in copy_chains(RULESET)}
    entrance = names.transport_candidates(HookPoint.EGRESS, Transport.UDP)
    comments = [line.comment for line in chains[entrance].lines]
    assert comments == ["port500 forked"] * 2
    shared = f"{entrance}_port500_forked"
    assert [line.rule[-1] for line in chains[entrance].lines] == [jump(shared)] * 2
    copies = [jump(names.copies(HookPoint.EGRESS, "forked"))] * 3
    assert [way.rule[-1] for way in chains[shared].lines] == copies
