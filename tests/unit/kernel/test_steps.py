# SPDX-License-Identifier: GPL-2.0-or-later
"""What concerns more than one part, with parts that note it."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import NoReturn, cast

import pytest

from tests.rulesets import RULESET
from vpngate.errors import KernelRefused
from vpngate.kernel.steps import Steps
from vpngate.kernel.table.hooks import Hooks
from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.table.switch import Switch
from vpngate.kernel.way import Way
from vpngate.kernel.wire.channel import Channel
from vpngate.kernel.wire.links import Announcement, Link, What


def test_a_table_that_cannot_be_taken_down_goes_before_the_ifbs() -> None:
    """It may be armed still, and lead packets to them."""
    order: list[str] = []

    def refuse() -> NoReturn:
        raise KernelRefused("no answer")

    steps = Steps()
    steps.switch = cast("Switch", SimpleNamespace(disarm=refuse))
    steps.table = cast("OwnedTable", SimpleNamespace(destroy=refuse))
    remove = partial(order.append, "ifbs")
    remove.__name__ = "remove"  # type: ignore[attr-defined]
    steps.way = cast("Way", SimpleNamespace(remove=remove, to_vacate=False))
    for name in ("table", "route"):
        closing = SimpleNamespace(close=partial(order.append, name))
        steps._channels.append(cast("Channel", closing))
    steps._taken = True
    steps.take_down()
    steps.close()
    assert order == ["table", "ifbs", "route"]


@pytest.mark.parametrize(
    ("news", "concerned"),
    [
        pytest.param(("lan0", 2, 1500), False, id="nothing new"),
        pytest.param(("lan0", 9, 1500), True, id="another one of the name"),
        pytest.param(("lan0", 2, 9000), True, id="larger packets"),
        pytest.param(("lan1", 3, 1500), True, id="away at the last look, and back"),
        pytest.param(("tun0", 4, 9000), False, id="somebody else's"),
    ],
)
def test_what_links_are_told_of_that_concern_the_hooks(
    news: tuple[str, int, int], *, concerned: bool
) -> None:
    steps = Steps()
    steps.ruleset = replace(RULESET, interfaces=("lan0", "lan1"))
    steps.hooks = cast("Hooks", SimpleNamespace(index_of={"lan0": 2}.get))
    way = SimpleNamespace(concerns=lambda _: False, is_too_small=lambda mtu: mtu > 1500)
    steps.way = cast("Way", way)
    name, index, mtu = news
    link = Link(index, name, up=True, hardware=1, mtu=mtu)
    assert steps.concerns(Announcement(What.LINK, index, link)) is concerned
    assert not steps.concerns(Announcement(What.LINK_GONE, index, link))
