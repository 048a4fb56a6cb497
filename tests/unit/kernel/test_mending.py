# SPDX-License-Identifier: GPL-2.0-or-later
"""What is made beforehand: also while verdicts come, and none waits for all of it."""

import asyncio
from types import SimpleNamespace
from typing import cast

from vpngate.kernel.lanes import Lanes
from vpngate.kernel.mending import Mending
from vpngate.kernel.sparing import Sparing
from vpngate.kernel.steps import Steps

PLACES = 20


def test_places_are_made_ready_while_verdicts_come() -> None:
    lacking = iter([*[True] * PLACES, False])
    order: list[str] = []

    def make_ready() -> bool:
        order.append("place")
        return next(lacking)

    async def scenario() -> None:
        lanes = Lanes()
        lanes.open()
        steps = cast(
            "Steps", SimpleNamespace(way=SimpleNamespace(make_ready=make_ready))
        )
        mending = Mending(lanes, steps, cast("Sparing", None), lambda: None)
        making = asyncio.create_task(mending.make_ready())
        try:
            while not making.done():
                await lanes.do(order.append, "verdict")
            await making
        finally:
            lanes.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert order.count("place") == PLACES + 1
    waited_for = max(len(run) for run in "".join(o[0] for o in order).split("v"))
    assert waited_for == 1
