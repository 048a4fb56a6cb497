# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of the table's sets come and go is told by their names."""

from dataclasses import replace

from tests import rulesets
from vpngate.packets import HookPoint
from vpngate.ruleset import copying, names, sharing, throttling
from vpngate.ruleset.composition import compose
from vpngate.tunnels import all_carriers, all_tunnels

SIGNATURES = [s for tunnel in all_tunnels() for s in tunnel.signatures]


def test_each_kind_of_set_is_told_by_its_name() -> None:
    spared = [one.name for n in (1, 20) for one in throttling.spared_sets(n)]
    sampled = [one.name for one in copying.sampled_sets(SIGNATURES)]
    sampled += [one.name for one in sharing.address_sets(rulesets.RULESET)]
    lasting = [one.name for one in throttling.verdict_maps(all_carriers(), 10)]
    lasting.append(throttling.armed_set(30.0).name)
    every = [*spared, *sampled, *lasting]
    assert [name for name in every if names.is_spared_set(name)] == spared
    assert [name for name in every if names.is_sampled_set(name)] == sampled


def test_base_chains_are_told_by_their_names() -> None:
    many = tuple(f"ppp{n}" for n in range(2 * names.MOST_DEVICES + 1))
    table = compose(replace(rulesets.RULESET, interfaces=many), 7, 1)
    hooked = [chain for chain in table.chains if chain.hook is not None]
    told = [chain for chain in table.chains if names.is_base(chain.name)]
    assert told == hooked
    assert not any(names.is_base(names.trial(point)) for point in HookPoint)
