# SPDX-License-Identifier: GPL-2.0-or-later
"""Who waits for ticks looks no less often than after pauses, and with the others."""

import asyncio
import random

import pytest

from vpngate.daemon.threads import next_tick, tick

_SHORT = 0.05  # seconds


def ticks(moments: list[float], seconds: float) -> list[float]:
    """The next one of each moment of a loop's clock."""

    async def scenario() -> list[float]:
        clock = iter(moments)
        loop = asyncio.get_running_loop()
        real, loop.time = loop.time, lambda: next(clock)  # type: ignore[method-assign]
        try:
            return [next_tick(seconds) for _ in moments]
        finally:
            loop.time = real  # type: ignore[method-assign]

    return asyncio.run(scenario())


@pytest.mark.parametrize("seconds", [0.25, 0.5, 1.0, 5.0])
def test_none_is_further_off_than_a_pause(seconds: float) -> None:
    draw = random.Random(1)
    moments = [draw.uniform(0, 1e7) for _ in range(5000)]
    moments += [float(draw.randrange(10**7)) for _ in range(5000)]
    for now, due in zip(moments, ticks(moments, seconds), strict=True):
        assert now < due <= now + seconds


def test_each_longer_one_is_a_shorter_one_too() -> None:
    moments = [0.0, 0.4, 12345.6, 9e6 + 0.75]
    short, long = ticks(moments, 0.5), ticks(moments, 1.0)
    assert all(b in {a, a + 0.5} for a, b in zip(short, long, strict=True))


def test_those_who_wait_for_the_same_one_are_woken_together() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        await tick(_SHORT)  # a whole one is ahead
        dues = await asyncio.gather(*(tick(_SHORT) for _ in range(5)))
        assert len(set(dues)) == 1
        assert dues[0] <= loop.time()

    asyncio.run(scenario())
