# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel room by itself, in the lab's gateway: no daemon, no configuration.

Knows a ruleset that enforces towards the lab's subscribers; does not know what is
done with it.
"""

import asyncio
from collections.abc import Awaitable, Callable

from tests.lab.topology import Lab
from vpngate.kernel.live import LiveDataPlane
from vpngate.registry.intervals import Intervals
from vpngate.ruleset import Ruleset
from vpngate.tunnels import all_tunnels

RULESET = Ruleset(
    table="vpngate",
    interfaces=("lan0", "lan1"),
    subscriber_side=True,
    hook_priority=500,
    mark=0x40000000,
    enforce=True,
    deadman=30.0,
    rate=5_000_000,
    max_flows=1000,
    signatures=tuple(s for tunnel in all_tunnels() for s in tunnel.signatures),
    nflog_group=5170,
    packets_per_second=20_000,
    spared=Intervals.of_prefixes(["203.0.113.0/24", "255.0.0.0/8", "2001:db8:a::/48"]),
)


def in_gateway(lab: Lab, scenario: Callable[[LiveDataPlane], Awaitable[None]]) -> None:
    """Run a scenario with a data plane of its own, stopped at the end."""

    async def whole() -> None:
        plane = LiveDataPlane()
        try:
            await scenario(plane)
        finally:
            await plane.stop()

    lab.gateway.call(lambda: asyncio.run(whole()))
