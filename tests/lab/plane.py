# SPDX-License-Identifier: GPL-2.0-or-later
"""A data plane by itself, in the lab's gateway: no daemon, no configuration.

Knows a ruleset that enforces towards the lab's subscribers; does not know what is
done with it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from tests import rulesets
from tests.lab.attachings import as_asked
from tests.lab.namespaces import Namespace
from tests.planes import PLANE
from vpngate.config import Plane
from vpngate.kernel.bpf_steps import BpfSteps
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


def data_plane() -> LiveDataPlane:
    """The one that this run is over; nothing has started yet."""
    return LiveDataPlane(steps=BpfSteps(as_asked) if PLANE is Plane.EBPF else None)


def in_gateway(
    lab: Gatewayed, scenario: Callable[[LiveDataPlane], Awaitable[None]]
) -> None:
    """Run a scenario with a data plane of its own, stopped at the end."""

    async def whole() -> None:
        plane = data_plane()
        try:
            await scenario(plane)
        finally:
            await plane.stop()

    lab.gateway.call(lambda: asyncio.run(whole()))
