# SPDX-License-Identifier: GPL-2.0-or-later
from dataclasses import replace

import numpy as np
import pytest

from tests.rulesets import RULESET
from vpngate.packets import Family
from vpngate.plan import LARGEST_DELTA, plan
from vpngate.prefixes.intervals import Bounds, Intervals

OLD = replace(RULESET, signatures=(), spared=Intervals.of_prefixes(["10.0.0.0/8"]))


def test_nothing_changes() -> None:
    steps = plan(OLD, OLD)
    flags = (steps.rules, steps.swap, steps.build, steps.dismantle)
    assert not any(flags)
    assert not steps.end_verdicts


def test_registry_alone_is_a_delta_without_rules() -> None:
    steps = plan(OLD, replace(OLD, spared=Intervals.of_prefixes(["192.0.2.0/24"])))
    assert not steps.rules
    assert (len(steps.spared.added), len(steps.spared.removed)) == (1, 1)


def test_large_change_swaps_sets_and_no_other_rules() -> None:
    first = np.arange(LARGEST_DELTA + 1, dtype=np.uint32) * 2
    rows = first.astype(">u4").view(np.uint8).reshape(-1, 4)
    many = Intervals.of_bounds({Family.IPV4: Bounds(rows, rows)})
    steps = plan(OLD, replace(OLD, spared=many))
    assert steps.swap
    assert not steps.rules, "those that ask the sets are turned by themselves"


def test_interfaces_come_and_go() -> None:
    steps = plan(OLD, replace(OLD, interfaces=("lan1", "lan2")))
    assert steps.rules


def test_observing_takes_everything_down_and_enforcing_puts_it_up() -> None:
    observing = replace(OLD, enforce=False)
    down, up = plan(OLD, observing), plan(observing, OLD)
    assert down.dismantle
    assert down.end_verdicts
    assert up.build
    assert not up.end_verdicts


def test_verdicts_end_with_the_side_that_they_are_about() -> None:
    assert plan(OLD, replace(OLD, subscriber_side=False)).end_verdicts


def test_table_cannot_change() -> None:
    with pytest.raises(ValueError, match="table"):
        plan(OLD, replace(OLD, table="other"))
