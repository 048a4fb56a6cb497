# SPDX-License-Identifier: GPL-2.0-or-later
import asyncio
from dataclasses import replace

import pytest

from tests import rulesets
from vpngate.kernel.dryrun import DryRunDataPlane
from vpngate.packets import Endpoint, Transport
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals

RULESET = replace(
    rulesets.RULESET, max_flows=10, spared=Intervals.of_prefixes(["192.0.2.0/24"])
)
FREE = Throttle(
    Transport.UDP,
    Endpoint(b"\x0a\0\0\1", 1),
    Endpoint(b"\xc6\x33\x64\1", 2),
    b"\x0a\0\0\1",
    180,
)
SPARED = replace(FREE, remote=Endpoint(b"\xc0\0\2\1", 2))


def test_life_of_a_verdict() -> None:
    async def scenario() -> None:
        now = 0.0
        plane = DryRunDataPlane(lambda: now)

        def armed() -> bool:
            return plane.armed  # asked anew each time

        with pytest.raises(RuntimeError):
            await plane.replace(RULESET)
        await plane.start(RULESET)
        await plane.throttle([FREE, SPARED])
        assert plane.flows == [FREE]
        assert not armed()
        await plane.rearm()
        assert armed()
        assert (await plane.counters()).throttled_flows == {"ipv4": 1, "ipv6": 0}
        now = 31.0
        assert not armed()
        now = 200.0
        assert plane.flows == []
        await plane.throttle([FREE])
        everything = Intervals.of_prefixes(["10.0.0.0/8"])
        await plane.replace(replace(RULESET, spared=everything))
        assert plane.flows == []
        await plane.replace(RULESET)
        await plane.throttle([FREE])
        await plane.protect(everything)
        assert plane.flows == []
        await plane.replace(RULESET)
        await plane.throttle([FREE])
        assert plane.flows == []
        await plane.protect(Intervals.empty())
        await plane.throttle([FREE])
        assert await plane.release(lambda _: True) == 1
        assert tuple(await plane.verify()) == ()
        await plane.disarm()
        await plane.stop()

    asyncio.run(scenario())


def test_a_verdict_beyond_the_most_is_refused_and_counted() -> None:
    async def scenario() -> None:
        plane = DryRunDataPlane()
        await plane.start(replace(RULESET, max_flows=1))
        other = replace(FREE, subscriber=Endpoint(b"\x0a\0\0\2", 1))
        await plane.throttle([FREE, other, FREE, SPARED, other])
        assert plane.flows == [FREE]
        assert (await plane.counters()).verdicts_refused == 2

    asyncio.run(scenario())
