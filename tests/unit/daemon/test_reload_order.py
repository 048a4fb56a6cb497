# SPDX-License-Identifier: GPL-2.0-or-later
"""Which reload does the work of several, and what is true of the registry now."""

import asyncio
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.daemon.desk import Desk
from tests.unit.daemon.gatehouse import MEMBER, NOW, REGISTRY
from vpngate.errors import VpngateError
from vpngate.feed.answer import Condition
from vpngate.feed.state.manifest import FileRecord, _page_digest
from vpngate.registry import load
from vpngate.supply import keeper, reading
from vpngate.timekeeping.clock import Reading
from vpngate.timekeeping.moments import format_moment


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_of_many_that_ask_one_reload_waits_behind_the_one_that_runs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read nothing yet, so it sees whatever the later ones were about."""
    loads: list[bytes] = []

    def counted(data: bytes, **options: Any) -> Any:
        loads.append(data)
        return load(data, **options)

    async def scenario() -> None:
        gatehouse = await desk.open()
        monkeypatch.setattr(reading, "load", counted)
        desk.registry.write_text(REGISTRY + "198.51.100.0/24,R-9\n")
        asked = []
        for _ in range(100):
            asked.append(asyncio.create_task(desk.reloader.reload()))
            await asyncio.sleep(0)
        outcomes = [each["registry"] for each in await asyncio.gather(*asked)]
        assert len(loads) == 1
        assert {each[:5] for each in outcomes} <= {"taken", "uncha"}
        assert len(gatehouse.current.snapshot.registry) == 2

    asyncio.run(scenario())


def test_a_refresh_that_finds_the_same_is_a_success_and_ends_a_failure(
    desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        gatehouse = await desk.open()
        monkeypatch.setattr(time, "time", lambda: 5e9)
        sound = desk.registry.read_bytes()
        desk.registry.write_bytes(b"")
        with pytest.raises(VpngateError):
            await desk.reloader.reload()
        assert gatehouse.metric("registry_last_load_successful") == 0
        at = "registry_last_refresh_success_timestamp_seconds"
        before = gatehouse.metric(at)
        assert before < 5e9
        desk.registry.write_bytes(sound)
        with caplog.at_level("INFO", "vpngate"):
            assert (await desk.reloader.reload())["registry"] == "unchanged"
        assert "refreshed again; failures: 1" in caplog.text
        assert not desk.reloader.freshness.failure
        assert gatehouse.metric("registry_last_load_successful") == 1
        assert gatehouse.metric(at) == 5e9

    asyncio.run(scenario())


def test_three_intervals_without_success_are_told_once_and_when_they_end(
    desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = 0.0
    monotonic = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + late)

    async def scenario() -> None:
        nonlocal late
        desk.write(registry='refresh = "10m"')
        gatehouse = await desk.open()
        late = 1799.0
        assert desk.reloader.stale() == []
        late = 1810.0
        with caplog.at_level("INFO", "vpngate"):
            for _ in range(3):
                late += 60
                await desk.reloader.age()
            assert caplog.text.count("has not been refreshed") == 1
            assert len(desk.reloader.stale()) == 1
            assert gatehouse.current.snapshot.lookup(MEMBER.address, NOW) is not None
            await desk.reloader.reload()
            await desk.reloader.age()
        assert desk.reloader.stale() == []
        assert caplog.text.count("is fresh again") == 1

    asyncio.run(scenario())


def test_a_registry_that_expires_in_force_is_stale_and_spares(desk: Desk) -> None:
    async def scenario() -> None:
        row = {"prefix": "203.0.113.0/24", "registration": "R-1"}
        ends = format_moment(NOW + 100)
        content = {"serial": 1, "expires": ends, "registrations": [row]}
        desk.registry.write_text(json.dumps(content))
        gatehouse = await desk.open()
        assert gatehouse.metric("registry_expires_timestamp_seconds") == NOW + 100
        assert desk.reloader.stale() == []
        desk.clock._read = lambda: Reading(NOW + 101, 102.0, "boot")
        (line,) = desk.reloader.stale()
        assert ends in line
        assert gatehouse.current.snapshot.lookup(MEMBER.address, NOW + 101) is not None
        desk.registry.write_text(json.dumps(content | {"serial": 2}))
        with pytest.raises(VpngateError, match="expired"):
            await desk.reloader.reload()
        assert gatehouse.current.snapshot.lookup(MEMBER.address, NOW + 101) is not None

    asyncio.run(scenario())


def test_the_whole_is_asked_for_now_and_then(desk: Desk) -> None:
    """A server may say "not modified" for ever, whatever it is asked."""

    async def scenario() -> None:
        await desk.open()
        working = desk.reloader._fetches.keeper
        assert working.validators is not None
        working.validators = replace(working.validators, condition=Condition('"1"'))
        asked = []
        for _ in range(2 * keeper.ASK_WHOLE_AFTER + 2):
            validators = working._asked_with()
            assert validators is not None
            asked.append(bool(validators.condition.etag))
            working.fetch(desk.gatehouse.current.snapshot.registry)
            working.validators = replace(working.validators, condition=Condition('"1"'))
        assert asked.count(False) == 2
        # Until it is had, it is asked for.
        working._unasked = keeper.ASK_WHOLE_AFTER
        desk.registry.unlink()
        for _ in range(2):
            with pytest.raises(VpngateError):
                working.fetch(desk.gatehouse.current.snapshot.registry)
            validators = working._asked_with()
            assert validators is not None
            assert not validators.condition.etag

    asyncio.run(scenario())


def spoil(state: Path, what: str) -> None:
    """Make nonsense of the state, digests and all."""
    page = json.loads((state / "last-good.json").read_bytes())
    page.pop("sha256")
    if what == "size":
        page["registry"]["size"] = "1"
    elif what == "name":
        page["memory"]["name"] = "../../etc/passwd"
    else:
        memory = {
            "clock": b'{"boot": "x", "uptime": 1, "courses": [[1e300, 1e300]]}\n',
            "text": b"\xff\xfe\n",
            "moment": b'{"boot": "x", "uptime": 1, "courses": [[1, 1]]}\t[NaN, 0]\n',
            "count": b'{"boot": "x", "uptime": 1, "courses": [[1, 1]]}\t[1, "0"]\n',
            "pair": b'{"boot": "x", "uptime": 1, "courses": [[1, 1]]}\t7\n',
            "departed": b"rows,that,are,none\n" * 3,
        }[what]
        page["memory"] = asdict(FileRecord.of("memory-0", memory))
        (state / "memory-0").write_bytes(memory)
    page["sha256"] = _page_digest(page)
    (state / "last-good.json").write_text(json.dumps(page))


@pytest.mark.parametrize(
    "what", ["size", "name", "clock", "text", "moment", "count", "pair", "departed"]
)
def test_a_state_that_is_nonsense_is_told_set_aside_and_prevents_no_start(
    desk: Desk, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(desk.open())
    state = desk.folder / "state"
    spoil(state, what)
    spoiled = (state / "last-good.json").read_bytes()
    with caplog.at_level("WARNING", "vpngate"):
        gatehouse = asyncio.run(desk.open())
    assert len(gatehouse.current.snapshot.registry) == 1
    assert str(state) in caplog.text
    assert (state / "set-aside.json").read_bytes() == spoiled
    assert desk.kept() == REGISTRY
