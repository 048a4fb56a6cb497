# SPDX-License-Identifier: GPL-2.0-or-later
"""Each step of the table is the one before it and something more."""

import numpy as np
import pytest

from bench import forward, forward_steps
from bench.contract import summary
from bench.ports import BARE, DEAF
from bench.traffic import KINDS
from tests.rulesets import RULESET
from vpngate.packets import HookPoint
from vpngate.ruleset.composition import compose
from vpngate.ruleset.table import Table

PORTS = (*forward_steps.STEPS, *forward_steps.OTHERS)


def size(table: Table) -> int:
    """Expressions that stand at the ingress hook and in what it leads to."""
    return sum(
        len(line.rule)
        for chain in table.chains
        for line in chain.lines
        if chain.name.startswith(HookPoint.INGRESS.name.lower())
    )


def test_each_step_is_more_and_the_last_is_the_table() -> None:
    tables = dict(forward_steps.tables(RULESET))
    assert tuple(tables) == PORTS
    sizes = [size(tables[step]) for step in forward_steps.STEPS]
    assert sizes == sorted(set(sizes))
    whole = compose(RULESET)
    assert sizes[-1] == size(whole) == size(tables["idle"])
    assert size(tables["unasked"]) < size(whole)
    assert size(tables["observing"]) < size(whole)


def test_a_step_is_told_beside_the_one_before_it_and_others_beside_a_bare_port() -> (
    None
):
    ports = (DEAF, BARE, *forward_steps.STEPS)
    found = {
        (kind, port): np.full(9, 100.0 * number**2)
        for kind in KINDS
        for number, port in enumerate(ports)
    }
    for kind in KINDS:
        for number, port in enumerate(forward_steps.OTHERS):
            found[kind, port] = np.full(9, 1000.0 + number)
    told = {figure.name: figure for figure in forward_steps.figures(found)}
    assert len(told) == len(KINDS) * len(PORTS)
    steps = [*forward_steps.STEPS.values()]
    added = [summary(told[f"udp, {what}"].ours).median for what in steps]
    assert added == [300, 500, 700, 900, 1100, 1300]
    floor = told[f"mix, {forward_steps.OTHERS['floor']}"]
    assert floor.ratio is not None
    assert floor.ratio.median == pytest.approx(9)


def test_a_port_is_told_beside_forwarding_alone() -> None:
    cost = {DEAF: 900.0, BARE: 1900.0, forward.HOOKED: 2400.0}
    found = {
        (kind, port): np.full(60, ns) for kind in KINDS for port, ns in cost.items()
    }
    udp, *others = forward.figures("routed", forward.HOOKED, found, lambda _: 0.45)
    assert udp.ratio is not None
    assert udp.ratio.median == pytest.approx(0.5)
    assert udp.holds is False
    assert "0.67" in udp.note
    assert [figure.note for figure in others] == [""] * 3


def test_what_is_neither_plain_nor_mixed_may_cost_a_little_more() -> None:
    most = forward.AT_MOST[forward.PROGRAMMED]
    assert most.of("mix", enforcing=True) == 0.18
    assert most.of("quic", enforcing=True) == 0.23
    assert most.of("tcp", enforcing=False) == 0.19
