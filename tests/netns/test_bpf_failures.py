# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel that refuses a program or a write in the middle of a change.

Whoever was spared before is spared afterwards, also against a verdict past the daemon's
own check, and what differs in the kernel is seen. The refusals are made here, one after
the other, until a change gets through: so each step of it has failed once.
"""

import errno
import itertools
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.lab.attachings import over_each
from tests.netns.test_bpf_plane import HOST, RULES, Running, at_the_gateway, flow
from vpngate.errors import MissingFeature, VpngateError
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.maps import Map, index
from vpngate.kernel.bpf.plane_maps import Stage
from vpngate.kernel.bpf.syscall import BpfRefused
from vpngate.prefixes.intervals import Intervals

pytestmark = over_each

MINE = Intervals.of_prefixes([f"{HOST}/32"])
OTHERS = Intervals.of_prefixes(["198.51.100.0/24"])
MANY = Intervals.of_prefixes(
    [f"192.168.{n >> 7}.{(n & 127) * 2}/32" for n in range(2100)]
)
_MOST = 60  # refusals of one change


class Refusing:
    """Lets so many calls through and refuses the one behind them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        self.hit = False
        for owner, name in ((programs, "load"), (Map, "put")):
            monkeypatch.setattr(owner, name, self._guarded(getattr(owner, name)))

    def after(self, count: int) -> None:
        self.left, self.hit = count, False

    def never(self) -> None:
        self.left = None

    def _guarded(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.left is not None:
                self.left -= 1
                if self.left == -1:
                    self.hit = True
                    raise BpfRefused("do that", errno.ENOMEM)
            return real(*args, **kwargs)

        return call


async def spared(running: Running) -> bool:
    """Whether packets are, that have a verdict past every check, and are counted so."""
    plane, verdict = running.plane, [flow()]
    await plane._do(running.steps.throttled.throttle, verdict, time.monotonic())
    assert await plane.rearm()
    before = await plane.counters(), await running.diverted()
    assert await running.send(3) == 3
    after = await plane.counters(), await running.diverted()
    await plane.withdraw(verdict)
    met = after[0].spared_packets["ipv4"] - before[0].spared_packets["ipv4"]
    assert (met, after[1] - before[1]) in ((3, 0), (0, 3))
    return met == 3


async def refused_in_turn(
    refusing: Refusing,
    change: Callable[[], Awaitable[None]],
    check: Callable[[], Awaitable[None]],
) -> int:
    """Refuse each step of a change, and look what came of it; how many there were."""
    for count in itertools.count():
        assert count < _MOST
        refusing.after(count)
        try:
            await change()
        except VpngateError:
            assert refusing.hit
        finally:
            refusing.never()
        if not refusing.hit:
            return count
        await check()
    raise AssertionError


def test_whoever_is_protected_stays_so_whatever_is_refused(
    attaching: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = Refusing(monkeypatch)

    async def scenario(running: Running) -> None:
        plane = running.plane
        await plane.protect(MINE)

        async def check() -> None:
            assert await spared(running)
            assert (await plane.compare()).equal

        more = MANY.union(MINE)  # more than the sets have room for
        steps = await refused_in_turn(refusing, lambda: plane.protect(more), check)
        assert steps > 5
        assert await spared(running)
        await plane.protect(MINE)
        assert await spared(running)
        await plane.protect(OTHERS)
        assert not await spared(running)
        assert await plane.verify() == []

    at_the_gateway(attaching, scenario)


@pytest.mark.parametrize("also_rules", [False, True], ids=["registry", "and rules"])
def test_whoever_is_registered_stays_so_whatever_is_refused(
    attaching: str, monkeypatch: pytest.MonkeyPatch, *, also_rules: bool
) -> None:
    """A registry without them is refused half way, with other rules or without."""
    refusing = Refusing(monkeypatch)
    registered = replace(RULES, spared=MINE)
    faster = RULES.packets_per_second + also_rules
    target = replace(RULES, spared=OTHERS, packets_per_second=faster)

    async def scenario(running: Running) -> None:
        plane = running.plane
        await plane.replace(registered)

        async def check() -> None:
            assert running.steps.ruleset is registered
            assert await spared(running)
            assert await plane.verify() == []
            assert await spared(running)

        steps = await refused_in_turn(refusing, lambda: plane.replace(target), check)
        assert steps > 5
        assert not await spared(running)
        assert await plane.verify() == []

    at_the_gateway(attaching, scenario)


def test_what_is_not_in_the_slots_any_more_is_seen_and_put_right(
    attaching: str,
) -> None:
    """Each kind of stage, with another program in its slot, and with none."""

    async def scenario(running: Running) -> None:
        plane, table = running.plane, running.steps.programs
        await plane.replace(replace(RULES, spared=MINE))
        stages, slots = table.maps.stages, table._slots
        held = {_stage_of(one): one for one in slots._held.stages}  # type: ignore[union-attr]
        assert set(Stage) - held.keys() <= {Stage.HOOK}
        assert (Stage.HOOK in held) is (attaching == "filters")
        for number, emptied in itertools.product(held.values(), (False, True)):
            if emptied:
                stages.remove(index(number))
            else:
                stages.put(index(number), struct.pack("=I", table.near_end))
            there = stages.get(index(number))
            assert not slots.are_whole()
            assert await plane.verify() == ["spared"]
            assert stages.get(index(number)) not in (None, there)
            assert slots.are_whole()
            assert await plane.verify() == []
        assert await spared(running)

    at_the_gateway(attaching, scenario)


def _stage_of(number: int) -> Stage:
    return max(stage for stage in Stage if stage <= number)


def test_of_verdicts_that_find_no_room_none_is_there(
    attaching: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = Refusing(monkeypatch)

    async def scenario(running: Running) -> None:
        plane, one = running.plane, flow()
        some = [
            replace(one, subscriber=one.subscriber._replace(port=port))
            for port in range(41000, 41010)
        ]
        await plane.throttle(some[:1])
        held = list(running.steps.programs.maps.verdicts.values())

        def there() -> int:
            return sum(count for each in held for _, _, count in each.items())

        known = there()
        refusing.after(7)
        with pytest.raises(VpngateError):
            await plane.throttle(some)
        refusing.never()
        assert refusing.hit
        assert there() == known
        assert len(await plane.slowed()) == 1
        await plane.throttle(some)
        assert len(await plane.slowed()) == len(some)

    at_the_gateway(attaching, scenario)


def test_memory_of_a_map_that_is_closed_is_refused(attaching: str) -> None:
    async def scenario(running: Running) -> None:
        arrays = running.steps.programs.parts.spared
        await running.plane.replace(replace(RULES, spared=MINE))
        (closed, *_), *_ = (one.maps for one in arrays.searched.values())
        with pytest.raises(BpfRefused):
            closed.mapped()

    at_the_gateway(attaching, scenario)


def test_more_signatures_than_there_is_room_for_change_nothing(attaching: str) -> None:
    many = tuple(RULES.signatures) * 40

    async def scenario(running: Running) -> None:
        plane = running.plane
        await plane.replace(replace(RULES, spared=MINE))
        with pytest.raises(MissingFeature, match="has room for 64"):
            await plane.replace(replace(RULES, signatures=many))
        assert await plane.verify() == []
        assert await spared(running)
        await plane.replace(RULES)
        assert not await spared(running)

    at_the_gateway(attaching, scenario)
