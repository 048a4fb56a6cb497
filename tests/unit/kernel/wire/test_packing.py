# SPDX-License-Identifier: GPL-2.0-or-later
"""What is packed by pyroute2's declarations has the bytes that its messages have."""

from dataclasses import replace
from typing import Any

import pytest

from tests import rulesets
from vpngate.expressions import Compare, CompareOp
from vpngate.kernel.wire import messages, nft
from vpngate.kernel.wire.attributes import HEADER
from vpngate.kernel.wire.declarations import (
    nft_chain_msg,
    nft_set_msg,
    packed,
    packed_rule,
    rule_msg,
)
from vpngate.kernel.wire.encoding import Attributes, encode_rule, nested
from vpngate.ruleset import composition


def by_pyroute2(declared: type[Any], attributes: Attributes) -> bytes:
    made = declared()
    made["attrs"] = [*attributes]
    made.encode()
    return bytes(made.data[HEADER.size + nft.FAMILY_HEADER.size :])


def test_every_message_of_a_table_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def both(declared: type[Any], attributes: Attributes) -> bytes:
        made = packed(declared, attributes)
        assert made == by_pyroute2(declared, attributes), attributes
        compared.append(declared)
        return made

    monkeypatch.setattr(messages, "packed", both)
    table = "a_name"
    messages.new_table(table)
    messages.new_table(table, owned=False)
    messages.get_counters(table)
    for each in (rulesets.RULESET, replace(rulesets.RULESET, enforce=False)):
        made = composition.compose(each)
        for one in (*composition.lasting_sets(each), *made.sets):
            messages.new_set(table, one)
            messages.delete_set(table, one.name)
            messages.get_set(table, one.name)
        for name in made.counters:
            messages.new_counter(table, name)
        for chain in made.chains:
            messages.new_chain(table, chain)
            messages.delete_chain.__wrapped__(table, chain.name)
            messages.delete_rules.__wrapped__(table, chain.name)
    assert len(set(compared)) == 5
    assert len(compared) > 500


def test_what_is_not_declared_is_not_left_out() -> None:
    """As pyroute2 leaves it out."""
    with pytest.raises(KeyError):
        packed(nft_chain_msg, [("NFTA_CHAIN_NAMES", "a")])


def test_what_is_of_another_kind_is_not_packed() -> None:
    with pytest.raises(TypeError):
        packed(nft_set_msg, [("NFTA_SET_EXPRESSIONS", [nested()])])


def test_expressions_stand_in_their_order() -> None:
    rule = (Compare(b"a"), Compare(b"bcdef", CompareOp.NEQ))
    attributes = [("NFTA_RULE_EXPRESSIONS", encode_rule(rule))]
    whole = nft.parts(bytes(nft.FAMILY_HEADER.size) + by_pyroute2(rule_msg, attributes))
    assert packed_rule(rule_msg.nft_expr, encode_rule(rule)) == bytes(
        whole[nft.RULE_EXPRESSIONS]
    )
