# SPDX-License-Identifier: GPL-2.0-or-later
"""A reload happens whole or not at all, and says which."""

import asyncio
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.unit.daemon.desk import Desk
from tests.unit.daemon.gatehouse import (
    NOW,
    REGISTRY,
    STRANGER,
    handshake,
)
from vpngate.config import Mode
from vpngate.errors import (
    FeedFault,
    InvalidConfig,
    KernelRefused,
    UnreadableInput,
    VpngateError,
)
from vpngate.feed import NoSourceAnswered
from vpngate.registry import Accept
from vpngate.supply import offers, reading

MANY = "".join(f"10.{n}.0.0/16,R-{n}\n" for n in range(100))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_start_is_told_to_the_metrics(desk: Desk) -> None:
    gatehouse = asyncio.run(desk.open())
    assert gatehouse.metric("config_last_reload_successful") == 1
    assert gatehouse.metric("registry_last_load_successful") == 1
    assert gatehouse.metric("registry_prefixes", family="ipv4") == 1
    assert gatehouse.metric("mode", mode="enforce") == 1


def test_a_source_that_was_passed_over_is_told_until_it_answers(desk: Desk) -> None:
    first = desk.folder / "first.csv"
    sources = f'sources = ["{first}", "{desk.registry}"]\n'
    first.write_text(REGISTRY)

    async def scenario() -> None:
        where = f'sources = ["{desk.registry}"]\n'
        desk.put(desk.config.read_text().replace(where, sources))
        gatehouse = await desk.open()
        assert desk.reloader.freshness.passed_over == []
        first.unlink()
        await desk.reloader.reload()
        assert desk.reloader.freshness.failure == ""
        (line,) = desk.reloader.freshness.passed_over
        assert str(first) in line
        assert gatehouse.metric("registry_last_load_successful") == 1
        failed = ("registry_source_failures_total", "file_missing")
        assert gatehouse.metric(failed[0], reason=failed[1]) == 1
        first.write_text(REGISTRY)
        await desk.reloader.reload()
        assert desk.reloader.freshness.passed_over == []
        assert gatehouse.metric(failed[0], reason=failed[1]) == 1

    asyncio.run(scenario())


def test_a_new_registration_is_taken_and_ends_the_verdict(desk: Desk) -> None:
    async def scenario() -> None:
        gatehouse = await desk.open()
        (due,) = gatehouse.pipeline.take(handshake(), 1.0, NOW)
        await gatehouse.plane.throttle(due.flows)
        desk.registry.write_text(REGISTRY + "198.51.100.0/24,R-9\n")
        outcome = await desk.reloader.reload()
        assert outcome["registry"] == f"taken from {desk.registry}"
        assert outcome["prefixes"] == {"ipv4": 2, "ipv6": 0}
        assert gatehouse.plane.flows == []
        assert gatehouse.current.snapshot.lookup(STRANGER.address, NOW) is not None

    asyncio.run(scenario())


def test_another_pace_of_refreshing_counts_at_once(desk: Desk) -> None:
    async def scenario() -> None:
        desk.write(registry='refresh = "24h"')
        gatehouse = await desk.open()
        refreshing = asyncio.create_task(desk.reloader.refresh())
        await asyncio.sleep(0)
        desk.write(registry='refresh = "1s"')
        await desk.reloader.reload()
        desk.registry.write_text(REGISTRY + "198.51.100.0/24,R-9\n")
        async with asyncio.timeout(10):
            while gatehouse.metric("registry_prefixes", family="ipv4") < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        refreshing.cancel()

    asyncio.run(scenario())


def test_nothing_new_is_unchanged(desk: Desk) -> None:
    async def scenario() -> None:
        await desk.open()
        assert (await desk.reloader.reload())["registry"] == "unchanged"

    asyncio.run(scenario())


def test_warm_keys_are_taken(desk: Desk) -> None:
    async def scenario() -> None:
        gatehouse = await desk.open()
        desk.write(rest='[throttle]\nrate = "2mbit"\n')
        await desk.reloader.reload()
        assert gatehouse.plane.ruleset.rate == 2_000_000

    asyncio.run(scenario())


def test_cold_keys_are_refused_each_by_name(desk: Desk) -> None:
    async def scenario() -> None:
        gatehouse = await desk.open()
        desk.write(gateway='hook_priority = 7\ntable = "other"', rest="")
        text = await desk.refused(InvalidConfig)
        assert f"{desk.config}: gateway.hook_priority" in text
        assert f"{desk.config}: gateway.table" in text
        assert gatehouse.metric("config_last_reload_successful") == 0

    asyncio.run(scenario())


def test_a_broken_configuration_changes_nothing_and_is_told(desk: Desk) -> None:
    async def scenario() -> None:
        gatehouse = await desk.open()
        desk.registry.write_text(REGISTRY + "198.51.100.0/24,R-9\n")
        desk.write(rest='[throttle]\nrate = "1kbit"\n')
        assert "rate" in await desk.refused(InvalidConfig)
        assert gatehouse.metric("config_last_reload_successful") == 0
        desk.write()
        await desk.reloader.reload()
        assert gatehouse.metric("config_last_reload_successful") == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x00\x01 no registry", "invalid"),
        (b"prefix,registration\n", "empty"),
        (b"prefix,registration\n0.0.0.0/0,R-1\n", "default_route"),
    ],
)
def test_a_registry_that_is_not_taken_leaves_the_old_one(
    desk: Desk, content: bytes, reason: str
) -> None:
    async def scenario() -> None:
        gatehouse = await desk.open()
        desk.registry.write_bytes(content)
        await desk.refused(NoSourceAnswered)
        assert gatehouse.metric("registry_last_load_successful") == 0
        assert gatehouse.metric("registry_loads_refused_total", reason=reason) == 1
        assert desk.reloader.freshness.failure
        desk.registry.write_text(REGISTRY)
        await desk.reloader.reload()
        assert gatehouse.metric("registry_last_load_successful") == 1
        assert not desk.reloader.freshness.failure

    asyncio.run(scenario())


def test_enforcing_can_be_turned_off_while_the_registry_is_broken(desk: Desk) -> None:
    async def scenario() -> None:
        gatehouse = await desk.open()
        desk.registry.write_text("")
        desk.put(desk.config.read_text().replace("enforce", "observe"))
        with pytest.raises(NoSourceAnswered):
            await desk.reloader.reload()
        assert gatehouse.current.snapshot.config.gateway.mode is Mode.OBSERVE
        assert not gatehouse.plane.ruleset.enforce
        assert gatehouse.metric("registry_last_load_successful") == 0

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("module", "step"),
    [(reading, "load"), (offers, "guard"), (offers, "carry_over")],
    ids=["load", "guard", "carry_over"],
)
def test_a_stop_is_looked_for_between_the_steps_of_a_load(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, module: ModuleType, step: str
) -> None:
    async def scenario() -> None:
        gatehouse = await desk.open()
        work = getattr(module, step)

        def stopped_meanwhile(*args: Any, **options: Any) -> Any:
            desk.reloader._fetches.keeper.cancel()
            return work(*args, **options)

        monkeypatch.setattr(module, step, stopped_meanwhile)
        desk.registry.write_text(REGISTRY + "198.51.100.0/24,R-9\n")
        assert "asked to stop" in await desk.refused(FeedFault)
        assert gatehouse.current.snapshot.lookup(STRANGER.address, NOW) is None
        assert desk.kept() == REGISTRY

    asyncio.run(scenario())


def test_another_grace_is_also_how_long_a_clock_is_doubted(desk: Desk) -> None:
    async def scenario() -> None:
        await desk.open()
        desk.write(registry='removal_grace = "5h"')
        await desk.reloader.reload()
        assert desk.clock.patience == 5 * 3600

    asyncio.run(scenario())


def test_many_removals_wait_for_a_persons_word_and_have_their_grace(desk: Desk) -> None:
    async def scenario() -> None:
        desk.registry.write_text(REGISTRY + MANY)
        gatehouse = await desk.open()
        desk.registry.write_text(REGISTRY)
        await desk.refused(NoSourceAnswered)
        assert gatehouse.metric(
            "registry_loads_refused_total", reason="removed_too_many"
        )
        spared = gatehouse.plane.ruleset.spared
        await desk.reloader.reload(accept=[Accept.REMOVALS])
        registry = gatehouse.current.snapshot.registry
        assert len(registry) == 1
        assert gatehouse.plane.ruleset.spared == spared
        assert registry.lookup(b"\x0a\x05\0\1", NOW + 71 * 3600) is not None
        assert registry.lookup(b"\x0a\x05\0\1", NOW + 73 * 3600) is None

    asyncio.run(scenario())


def test_the_last_good_registry_starts_a_daemon_whose_sources_are_gone(
    desk: Desk,
) -> None:
    async def scenario() -> None:
        await desk.open()
        kept = desk.registry.rename(desk.folder / "away.csv")
        gatehouse = await desk.open()
        assert gatehouse.current.snapshot.registry.prefixes
        assert gatehouse.metric("registry_prefixes", family="ipv4") == 1
        # It is told as what it is: a load that failed, to be tried again soon.
        assert gatehouse.metric("registry_last_load_successful") == 0
        name = "registry_loads_refused_total"
        assert gatehouse.metric(name, reason="file_missing") == 1
        assert str(desk.registry) in desk.reloader.freshness.failure
        assert desk.reloader.freshness.failures == 1
        kept.rename(desk.registry)
        await desk.reloader.reload()
        assert gatehouse.metric("registry_last_load_successful") == 1
        assert not desk.reloader.freshness.failure

    asyncio.run(scenario())


def test_without_source_and_last_good_registry_there_is_no_start(desk: Desk) -> None:
    desk.registry.unlink()
    with pytest.raises(VpngateError, match=str(desk.registry)) as caught:
        asyncio.run(desk.open())
    assert caught.value.exit_status == UnreadableInput.exit_status


@pytest.mark.parametrize("damaged", ["last-good.json", "registry-*"])
def test_a_memory_damaged_meanwhile_is_told_and_mended(
    desk: Desk, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        await desk.open()
        (victim,) = (desk.folder / "state").glob(damaged)
        victim.write_bytes(victim.read_bytes()[:-3])
        assert (await desk.reloader.reload())["registry"] == "unchanged"
        assert str(victim) in caplog.text
        assert (await desk.reloader.reload())["registry"].startswith("taken")
        assert (await desk.reloader.reload())["registry"] == "unchanged"
        desk.registry.unlink()
        assert (await desk.open()).metric("registry_prefixes", family="ipv4") == 1

    asyncio.run(scenario())


def test_a_full_disk_leaves_everything_as_it_was(desk: Desk) -> None:
    async def scenario() -> None:
        await desk.open()
        state = desk.folder / "state"
        for each in state.iterdir():
            each.unlink()
        state.rmdir()
        state.write_text("in the way")
        desk.registry.write_text(REGISTRY + "198.51.100.0/24,R-9\n")
        assert str(state) in await desk.refused(VpngateError)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "error", [KernelRefused("table: no memory"), MemoryError("no memory")]
)
def test_what_did_not_come_into_force_is_fetched_again(
    desk: Desk, error: Exception
) -> None:
    async def scenario() -> None:
        gatehouse = await desk.open()
        replace = gatehouse.plane.replace

        async def refuse(_ruleset: Any) -> None:
            raise error

        gatehouse.plane.replace = refuse  # type: ignore[method-assign, assignment]
        desk.registry.write_text(REGISTRY + "198.51.100.0/24,R-9\n")
        assert "no memory" in await desk.refused(type(error))
        assert "no memory" in desk.reloader.freshness.failure
        assert desk.kept() == REGISTRY
        gatehouse.plane.replace = replace  # type: ignore[method-assign]
        outcome = await desk.reloader.reload()
        assert outcome["registry"].startswith("taken")
        assert gatehouse.current.snapshot.lookup(STRANGER.address, NOW) is not None
        assert desk.kept() == desk.registry.read_text()

    asyncio.run(scenario())


def test_what_cannot_be_looked_at_holds_up_no_registry_and_no_mode(desk: Desk) -> None:
    async def scenario() -> None:
        gatehouse = await desk.open()
        desk.blind = KernelRefused("netlink socket: it changed each time")
        desk.registry.write_text(REGISTRY + "198.51.100.0/24,R-9\n")
        text = desk.config.read_text()
        desk.put(text.replace('"enforce"', '"observe"'))
        await desk.reloader.reload()
        assert not gatehouse.plane.ruleset.enforce
        assert gatehouse.plane.ruleset.spared.contains(STRANGER.address)
        assert gatehouse.plane.ruleset.interfaces == ("lan0",)

    asyncio.run(scenario())


def test_a_tunnel_that_is_no_longer_enabled_is_let_go(desk: Desk) -> None:
    async def scenario() -> None:
        gatehouse = await desk.open()
        (due,) = gatehouse.pipeline.take(handshake(), 1.0, NOW)
        await gatehouse.plane.throttle(due.flows)
        desk.write(rest='[tunnels]\nenabled = ["openvpn"]\n')
        await desk.reloader.reload()
        assert gatehouse.plane.flows == []

    asyncio.run(scenario())
