# SPDX-License-Identifier: GPL-2.0-or-later
"""What slows less waits for nothing: no replace, no fetch, no failure of another."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.daemon.applying.held import PATIENCE, Slow, held
from tests.unit.daemon.desk import Desk
from tests.unit.daemon.gatehouse import MACHINE, REGISTRY, STRANGER
from vpngate.config import Mode
from vpngate.daemon.applying.events import MinutePassed
from vpngate.daemon.wellbeing.deadman import DeadMan
from vpngate.errors import KernelRefused, VpngateError
from vpngate.prefixes.intervals import Intervals
from vpngate.snapshot import Snapshot
from vpngate.stance import Enforce

OWN = b"\xc0\0\2\1"


def test_observe_disarms_while_a_replace_is_under_way(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with held(tmp_path) as one:
            one.edit('"enforce"', '"observe"')
            asked = one.reload()
            await one.until(lambda: "disarm" in one.plane.asked)
            assert one.plane.asked == ["disarm"]
            assert not one.gatehouse.current.snapshot.enforcing
            assert one.gatehouse.metric("mode", mode="observe") == 1
            assert one.plane.ruleset is one.before
            assert not one.reloading.done()
            assert not asked.done()
            assert [type(each) for each in await one.let_go()] == [dict, dict]
            assert one.plane.ruleset.enforce is False
            assert one.plane.ruleset.spared.contains(STRANGER.address)

    asyncio.run(scenario())


def test_nothing_arms_again_once_it_has_been_said_that_nobody_is_slowed(
    tmp_path: Path,
) -> None:
    """The dead man's loop goes by what is acted on, which says so first."""

    async def scenario() -> None:
        async with held(tmp_path) as one:
            current, plane = one.gatehouse.current, one.plane
            now = asyncio.get_running_loop().time
            deadman = DeadMan(plane, now, one.gatehouse.metrics)
            holding = one.begin(
                deadman.hold(lambda: (current.snapshot.enforcing, 0.03))
            )
            await one.until(lambda: plane.armed)
            one.edit('"enforce"', '"observe"')
            one.reload()
            await one.until(lambda: "disarm" in plane.asked)
            for _ in range(20):
                assert not plane.armed
                await asyncio.sleep(0.01)
            one.edit('"observe"', '"enforce"')
            one.tasks.remove(holding)
            one.reload()
            assert all(isinstance(each, dict) for each in await one.let_go())
            await one.until(lambda: plane.armed)
            holding.cancel()

    asyncio.run(scenario())


@pytest.mark.parametrize("by", ["[protect]", "a look"])
def test_who_is_protected_is_so_while_a_replace_is_under_way(
    tmp_path: Path, by: str
) -> None:
    async def scenario() -> None:
        async with held(tmp_path) as one:
            if by == "a look":
                one.desk.machine = replace(MACHINE, addresses=frozenset({OWN}))
                asked = one.begin(one.desk.look_again())
            else:
                one.protect("192.0.2.0/24")
                asked = one.reload()
            await one.until(lambda: one.plane.protected.contains(OWN))
            assert one.plane.asked == ["protect"]
            assert one.gatehouse.current.snapshot.protects(OWN)
            assert not one.reloading.done()
            assert not asked.done()
            await one.let_go()
            assert one.plane.protected.contains(OWN)

    asyncio.run(scenario())


def test_looks_go_on_while_a_replace_is_under_way_and_the_last_counts(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with held(tmp_path) as one:
            following = one.begin(one.desk.lookout.follow())
            one.tasks.remove(following)
            for number in range(40):
                own = bytes([192, 0, 2, number])
                interfaces = ("lan0", f"lan{number}")
                one.desk.machine = replace(
                    MACHINE, interfaces=interfaces, addresses=frozenset({own})
                )
                one.desk.lookout.soon()
                await one.until(lambda own=own: one.plane.protected.contains(own))  # type: ignore[misc]
            assert one.plane.ruleset.interfaces == ("lan0",)
            await one.let_go()
            await one.until(lambda: "lan39" in one.plane.ruleset.interfaces)
            following.cancel()
            # The one that was held, and one for all the looks.
            assert one.plane.asked.count("replace begins") == 1
            assert one.plane.asked.count("replace ends") == 2

    asyncio.run(scenario())


def test_observe_is_not_taken_back_by_a_change_that_was_asked_for_before(
    tmp_path: Path,
) -> None:
    """What is under way was worked out for enforcing."""

    async def scenario() -> None:
        async with held(tmp_path) as one:
            one.edit("[registry]", "enforce_share = 50\n[registry]")
            first = one.reload()
            snapshot = one.gatehouse.current
            await one.until(
                lambda: snapshot.snapshot.config.gateway.enforce_share == 50
            )
            one.edit('"enforce"', '"observe"')
            one.reload()
            await one.until(lambda: "disarm" in one.plane.asked)
            seen = []
            adopt = one.gatehouse.pipeline.adopt

            def noting(snapshot: Snapshot) -> None:
                seen.append(snapshot.enforcing)
                adopt(snapshot)

            one.gatehouse.pipeline.adopt = noting  # type: ignore[method-assign]
            await one.let_go()
            assert first.done()
            assert seen
            assert not any(seen)
            assert not one.plane.ruleset.enforce

    asyncio.run(scenario())


def test_what_slows_less_stays_where_the_rest_of_it_fails(tmp_path: Path) -> None:
    """Nobody is slowed again because the kernel had no memory."""

    async def scenario() -> None:
        async with held(tmp_path) as one:
            one.edit('"enforce"', '"observe"')
            one.edit("[registry]", "enforce_share = 7\n[registry]")
            one.protect("192.0.2.0/24")
            one.reload()
            await one.until(lambda: "disarm" in one.plane.asked)
            one.plane.refusing = 2
            outcomes = await one.let_go()
            assert all(isinstance(each, KernelRefused) for each in outcomes)
            snapshot = one.gatehouse.current.snapshot
            assert snapshot.config.gateway.mode is Mode.OBSERVE
            assert snapshot.protects(OWN)
            assert len(snapshot.registry) == 1
            assert one.gatehouse.metric("config_last_reload_successful") == 0
            # Time brings it to the kernel, and what comes next builds on it.
            assert await one.gatehouse.take(MinutePassed())
            assert not one.plane.ruleset.enforce
            assert "release" in one.plane.asked
            outcome = await one.desk.reloader.reload()
            assert outcome["registry"].startswith("taken")
            assert one.gatehouse.metric("config_last_reload_successful") == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [KernelRefused("no room"), MemoryError()])
def test_what_fails_at_once_is_tried_again_in_its_turn_and_told(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with held(tmp_path) as one:
            # At once, when the change before is through, and in its turn.
            protect, failing = one.plane.protect, 3

            async def refuse(addresses: Intervals) -> None:
                nonlocal failing
                failing -= 1
                if failing >= 0:
                    raise error
                await protect(addresses)

            one.plane.protect = refuse  # type: ignore[method-assign]
            one.protect("192.0.2.0/24")
            asked = one.reload()
            await one.until(lambda: "not at once" in caplog.text)
            assert one.gatehouse.current.snapshot.protects(OWN)
            await one.let_go()
            assert asked.exception() is error
            # What is left of it is tried again, at the latest as time passes.
            await one.gatehouse.age()
            assert one.plane.protected.contains(OWN)

    asyncio.run(scenario())


def test_whom_a_smaller_share_lets_go_is_let_go_while_a_replace_is_under_way(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with held(tmp_path) as one:
            one.begin(one.gatehouse.applier.take(Enforce(1)))
            await one.until(lambda: "release" in one.plane.asked)
            assert "replace ends" not in one.plane.asked
            assert one.gatehouse.current.snapshot.stance.share == 1

    asyncio.run(scenario())


def test_a_change_that_fails_half_way_spoils_none_that_follows(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with held(tmp_path) as one:
            one.desk.machine = replace(MACHINE, interfaces=("lan0", "lan7"))
            look = one.begin(one.desk.look_again())
            one.edit("[registry]", '[throttle]\nrate = "2mbit"\n[registry]')
            second = one.reload()
            queue = one.gatehouse.applier._asked
            await one.until(lambda: len(queue) == 3)
            one.plane.refusing = 1
            await one.let_go()
            assert isinstance(one.reloading.exception(), KernelRefused)
            assert look.exception() is None
            assert second.result()["registry"].startswith("taken")
            ruleset = one.plane.ruleset
            assert ruleset.interfaces == ("lan0", "lan7")
            assert ruleset.rate == 2_000_000
            assert ruleset.spared.contains(STRANGER.address)
            assert one.desk.kept() == one.desk.registry.read_text()

    asyncio.run(scenario())


def test_a_storm_of_signals_costs_one_change_and_delays_no_observe(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with held(tmp_path) as one:
            for _ in range(300):
                one.reload()
                await asyncio.sleep(0)
            one.edit('"enforce"', '"observe"')
            for _ in range(300):
                one.reload()
                await asyncio.sleep(0)
            await one.until(lambda: "disarm" in one.plane.asked)
            assert len(one.gatehouse.applier._asked) < 10
            outcomes = await one.let_go()
            assert all(isinstance(each, dict) for each in outcomes)
            assert one.plane.asked.count("replace ends") == 2
            assert one.plane.asked.count("disarm") <= 2

    asyncio.run(scenario())


@pytest.mark.parametrize("steps", range(0, 60, 3))
def test_a_stop_during_anything_ends_everything(tmp_path: Path, steps: int) -> None:
    """After any number of turns of the loop: nobody waits for ever, nothing is half."""

    async def scenario() -> None:
        desk, plane = Desk(tmp_path), Slow()
        gatehouse = await desk.open(plane)
        desk.registry.write_text(REGISTRY + "198.51.100.0/24,R-9\n")
        desk.machine = replace(MACHINE, interfaces=("lan0", "lan7"))
        asked = [
            asyncio.create_task(desk.reloader.reload()),
            asyncio.create_task(desk.look_again()),
            asyncio.create_task(desk.reloader.age()),
        ]
        text = desk.config.read_text().replace('"enforce"', '"observe"')
        for _ in range(steps):
            await asyncio.sleep(0 if steps % 2 else 0.002)
        desk.put(text)
        asked.append(asyncio.create_task(desk.reloader.reload()))
        for _ in range(steps):
            await asyncio.sleep(0 if steps % 2 else 0.002)
        gatehouse.applying.cancel()
        desk.reloader.cancel()
        async with asyncio.timeout(PATIENCE):
            outcomes = await asyncio.gather(*asked, return_exceptions=True)
            with suppress(asyncio.CancelledError):
                await gatehouse.applying
        fine = (dict, type(None), VpngateError, asyncio.CancelledError)
        assert all(isinstance(each, fine) for each in outcomes), outcomes
        late = gatehouse.applier.submit(MinutePassed())
        assert late.cancelled()
        snapshot = gatehouse.current.snapshot
        assert gatehouse.pipeline._snapshot is snapshot
        assert len(snapshot.registry) in {1, 2}

    asyncio.run(scenario())
