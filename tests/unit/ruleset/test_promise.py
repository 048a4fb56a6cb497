# SPDX-License-Identifier: GPL-2.0-or-later
"""The order verdict, armed, spared, act: for every kind of packet, on the rules."""

from dataclasses import replace

import pytest

from tests import rulesets
from tests.unit.ruleset.cases import cases
from tests.unit.ruleset.contents import table_in_parts
from tests.unit.ruleset.promise import fares_well
from tests.unit.ruleset.walk import Walk
from vpngate.ruleset.composition import compose


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subscriber_side", "in_parts"), [(True, False), (True, True), (False, False)]
)
@pytest.mark.parametrize("enforce", [True, False], ids=["enforcing", "observing"])
def test_every_packet_fares_as_promised(
    *, enforce: bool, subscriber_side: bool, in_parts: bool
) -> None:
    ruleset = replace(
        rulesets.RULESET, enforce=enforce, subscriber_side=subscriber_side
    )
    walk = Walk(table_in_parts(ruleset) if in_parts else compose(ruleset))
    wrong = [case for case in cases(ruleset) if not fares_well(walk, case)]
    assert not wrong, "\n".join(map(str, wrong[:20]))
