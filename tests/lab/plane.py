# SPDX-License-Identifier: GPL-2.0-or-later
"""A data plane by itself, in the lab's gateway: no daemon, no configuration.

Knows a ruleset that enforces towards the lab's subscribers; does not know what is
done with it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol, cast

from tests import rulesets
from tests.lab.namespaces import Namespace
from tests.planes import PLANE
from vpngate.daemon.capture_and_plane import live_plane
from vpngate.kernel.live import LiveDataPlane
from vpngate.prefixes.intervals import Intervals

RULESET = replace(
    rulesets.RULESET,
    spared=Intervals.of_prefixes(["203.0.113.0/24", "255.0.0.0/8", "2001:db8:a::/48"]),
)


class Gatewayed(Protocol):
    """What has a gateway."""

    @property
    def gateway(self) -> Namespace: ...


def in_gateway(
    lab: Gatewayed, scenario: Callable[[LiveDataPlane], Awaitable[None]]
) -> None:
    """Run a scenario with a data plane of its own, stopped at the end."""

    async def whole() -> None:
        # What tests look into is the nftables plane's (`tests/planes.py`).
        plane = cast("LiveDataPlane", live_plane(PLANE))
        try:
            await scenario(plane)
        finally:
            await plane.stop()

    lab.gateway.call(lambda: asyncio.run(whole()))
