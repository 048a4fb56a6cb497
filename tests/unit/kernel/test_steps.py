# SPDX-License-Identifier: GPL-2.0-or-later
"""In which order all is taken down, with parts that note it."""

from functools import partial
from types import SimpleNamespace
from typing import NoReturn, cast

from vpngate.errors import KernelRefused
from vpngate.kernel.steps import Steps
from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.table.switch import Switch
from vpngate.kernel.way import Way
from vpngate.kernel.wire.channel import Channel


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
