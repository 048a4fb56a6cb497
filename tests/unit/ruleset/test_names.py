# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of the table's sets come and go is told by their names."""

from dataclasses import replace

import pytest

from tests import rulesets
from vpngate.packets import Family, HookPoint
from vpngate.ruleset import copying, names, sharing, throttling
from vpngate.ruleset.composition import compose
from vpngate.ruleset.registered import (
    Use,
    entrance,
    part_chain,
    part_set,
    parts_map,
)
from vpngate.tunnels import all_carriers, all_tunnels

SIGNATURES = [s for tunnel in all_tunnels() for s in tunnel.signatures]


def test_each_kind_of_set_is_told_by_its_name() -> None:
    sampled = [one.name for one in copying.sampled_sets(SIGNATURES)]
    sampled += [one.name for one in sharing.address_sets(rulesets.RULESET)]
    lasting = [one.name for one in throttling.verdict_maps(all_carriers(), 10)]
    lasting.append(throttling.armed_set(30.0).name)
    lasting += [one.name for one in throttling.protected_sets()]
    spared = [part_set(Family.IPV6, 20, part).name for part in (0, 7)]
    every = [*spared, *sampled, *lasting]
    assert [name for name in every if names.is_sampled_set(name)] == sampled
    told = [name for name in every if names.generation_of(name) is not None]
    assert told == spared


@pytest.mark.parametrize("use", Use)
@pytest.mark.parametrize("family", Family)
def test_what_asks_for_registered_addresses_is_told_by_its_name(
    use: Use, family: Family
) -> None:
    lasting = entrance(use, family)
    assert names.is_registered(lasting)
    assert names.generation_of(lasting) is None
    mine = (part_chain(use, family, 20, 7).name, parts_map(use, family, 20).name)
    assert [names.generation_of(name) for name in mine] == [20, 20]
    assert names.is_registered(mine[0])
    others = {chain.name for chain in compose(rulesets.RULESET).chains}
    found = {name for name in others if names.is_registered(name)}
    assert found == {entrance(each, either) for each in Use for either in Family}


def test_base_chains_are_told_by_their_names() -> None:
    many = tuple(f"ppp{n}" for n in range(2 * names.MOST_DEVICES + 1))
    table = compose(replace(rulesets.RULESET, interfaces=many))
    hooked = [chain for chain in table.chains if chain.hook is not None]
    told = [chain for chain in table.chains if names.is_base(chain.name)]
    assert told == hooked
    assert not any(names.is_base(names.trial(point)) for point in HookPoint)
