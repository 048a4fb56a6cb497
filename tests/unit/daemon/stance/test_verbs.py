# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person asks for: kept before it is acted on, refused with one line, told."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.daemon.gatehouse import (
    CONFIG,
    NOW,
    STRANGER,
    Gatehouse,
    config_read,
    fetched,
    handshake,
    snapshot,
)
from vpngate.config import Mode
from vpngate.daemon.kept.kept_stance import NAME
from vpngate.daemon.outside.control import asked_by
from vpngate.daemon.stance.stance_time import StanceTime
from vpngate.daemon.stance.verbs import LONGEST, StanceVerbs
from vpngate.errors import FeedFault, KernelRefused, Refused, WrongUse
from vpngate.kernel.dryrun import DryRunDataPlane
from vpngate.packets import Endpoint
from vpngate.ruleset import Ruleset
from vpngate.stance import Cause, Halt, HaltReason, of_text
from vpngate.timekeeping.clock import Reading

OBSERVING = CONFIG.replace("enforce", "observe")
PATIENCE = 60.0  # seconds


class Held(DryRunDataPlane):
    """A plane whose replace takes until it is let go, or fails."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.let_go = asyncio.Event()
        self.let_go.set()
        self.refusing = False

    async def replace(self, ruleset: Ruleset) -> None:
        self.begun.set()
        await self.let_go.wait()
        if self.refusing:
            raise KernelRefused("table vpngate: no memory")
        await super().replace(ruleset)


class Clocks:
    """Clocks that are moved by hand."""

    def __init__(self) -> None:
        self.now = Reading(NOW, 1000.0, "boot")

    def __call__(self) -> Reading:
        return self.now

    def move(self, seconds: float) -> None:
        self.now = self.now._replace(
            wall=self.now.wall + seconds, uptime=self.now.uptime + seconds
        )


class Person:
    """Who asks, and the daemon's parts."""

    def __init__(self, state: Path, text: str) -> None:
        self.state = state
        self.plane = Held()
        self.clocks = Clocks()
        self.house = Gatehouse(
            snapshot(text), self.plane, state=state, read=self.clocks
        )
        self.verbs = StanceVerbs(self.house.applier).handlers

    async def ask(self, verb: str, **arguments: Any) -> str:
        asked_by.set(7)
        async with asyncio.timeout(PATIENCE):
            answer: Mapping[str, Any] = await self.verbs[verb](arguments)
        line = answer["stance"]
        assert isinstance(line, str)
        assert "\n" not in line
        return line

    def acts(self) -> bool:
        return self.house.current.snapshot.enforcing

    def kept(self) -> tuple[Mode, int]:
        stance = of_text((self.state / NAME).read_text())
        return stance.mode, stance.share

    def break_disk(self) -> None:
        (self.state / f".next-{NAME}").mkdir()


@asynccontextmanager
async def person(state: Path, text: str = OBSERVING) -> AsyncIterator[Person]:
    one = Person(state, text)
    await one.house.open()
    try:
        yield one
    finally:
        one.plane.let_go.set()
        one.house.applying.cancel()
        await asyncio.gather(one.house.applying, return_exceptions=True)


def scenario(
    state: Path, what: Callable[[Person], Awaitable[None]], text: str = OBSERVING
) -> None:
    async def whole() -> None:
        async with person(state, text) as one:
            await what(one)

    asyncio.run(whole())


def test_enforce_confirm_observe(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def what(one: Person) -> None:
        metric = one.house.metric
        assert metric("stance_until_timestamp_seconds") == 0
        line = await one.ask("enforce", share=5, confirm_within=60.0)
        assert line.startswith(
            "enforce for 5% of the subscribers, to be confirmed by 20"
        )
        assert one.acts()
        assert one.plane.ruleset.enforce
        assert one.kept() == (Mode.ENFORCE, 5)
        assert metric("mode", mode="enforce") == 1
        assert metric("enforced_share_ratio") == 0.05
        assert metric("stance_until_timestamp_seconds") == NOW + 60
        assert "to be confirmed" not in await one.ask("confirm")
        assert metric("stance_until_timestamp_seconds") == 0
        assert (await one.ask("observe")).startswith("observe")
        assert not one.acts()
        assert one.kept() == (Mode.OBSERVE, 5)
        assert metric("enforced_share_ratio") == 0

    with caplog.at_level(logging.INFO):
        scenario(tmp_path, what)
    told = [each for each in caplog.messages if each.startswith("stance: ")]
    assert len(told) == 4  # the start's, and one for each change
    assert all("uid 7" in each for each in told[1:])


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("enforce", {"share": 101}),
        ("enforce", {"share": -1}),
        ("enforce", {"share": True}),
        ("enforce", {"share": 5.5}),
        ("enforce", {"for": 0}),
        ("enforce", {"for": "1h"}),
        ("enforce", {"confirm_within": float("nan")}),
        ("enforce", {"confirm_within": LONGEST + 1}),
        ("enforce", {"Share": 5}),
        ("confirm", {"share": 5}),
        ("observe", {"now": True}),
    ],
)
def test_wrong_use_changes_nothing(
    tmp_path: Path, verb: str, arguments: dict[str, Any]
) -> None:
    async def what(one: Person) -> None:
        before = one.house.current.snapshot
        with pytest.raises(WrongUse):
            await one.ask(verb, **arguments)
        assert one.house.current.snapshot is before

    scenario(tmp_path, what)


def test_what_acts_on_more_and_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    async def what(one: Person) -> None:
        one.break_disk()
        for arguments in ({}, {"share": 5}, {"for": 60.0}):
            with pytest.raises(FeedFault, match="the stance cannot be kept") as refused:
                await one.ask("enforce", **arguments)
            assert len(refused.value.lines) == 1
        assert not one.acts()
        assert not one.plane.ruleset.enforce
        assert one.kept() == (Mode.OBSERVE, 100)

    scenario(tmp_path, what)


def test_what_acts_on_less_and_cannot_be_kept_acts_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def what(one: Person) -> None:
        one.break_disk()
        await one.ask("enforce", share=5)
        assert one.house.current.snapshot.stance.share == 5
        await one.ask("observe")
        assert not one.acts()
        assert not (one.state / NAME).read_bytes(), "a restart allows nothing"
        (one.state / f".next-{NAME}").rmdir()
        await one.house.age()
        await one.ask("observe")
        assert one.kept() == (Mode.OBSERVE, 5), "it is tried again"

    scenario(tmp_path, what, CONFIG)
    assert "acted on all the same" in caplog.text
    assert "a restart observes until a person acts" in caplog.text


def test_nothing_is_acted_on_before_it_is_kept(tmp_path: Path) -> None:
    async def what(one: Person) -> None:
        write, seen = one.house.stances._write, []

        def writing(content: bytes) -> None:
            seen.append((one.acts(), one.plane.ruleset.enforce))
            write(content)

        one.house.stances._write = writing  # type: ignore[method-assign]
        await one.ask("enforce")
        assert seen == [(False, False)]
        await one.ask("enforce", share=5)
        assert seen[1:] == [(True, True)]

    scenario(tmp_path, what)


def test_a_kernel_that_refuses_leaves_nothing_allowed_on_disk(tmp_path: Path) -> None:
    async def what(one: Person) -> None:
        one.plane.refusing = True
        with pytest.raises(KernelRefused):
            await one.ask("enforce")
        assert not one.acts()
        await one.ask("observe")
        assert one.kept() == (Mode.OBSERVE, 100)

    scenario(tmp_path, what)


@pytest.mark.parametrize("enforcing", [False, True])
def test_observe_waits_for_nothing_that_is_on_its_way(
    tmp_path: Path, *, enforcing: bool
) -> None:
    """Nor does what was asked for before take it back, in force or on disk."""

    async def what(one: Person) -> None:
        busy: list[asyncio.Future[Any]] = []
        if enforcing:
            await one.ask("enforce", share=5)
        one.plane.let_go.clear()
        one.plane.begun.clear()
        if enforcing:
            other = fetched("prefix,registration\n192.0.2.0/24,R-1\n")
            busy.append(asyncio.ensure_future(one.house.take(other)))
        busy.append(asyncio.ensure_future(one.ask("enforce", share=50)))
        async with asyncio.timeout(PATIENCE):
            await one.plane.begun.wait()
        assert (await one.ask("observe")).startswith("observe")
        assert not one.acts()
        assert not one.plane.armed
        assert one.kept()[0] is Mode.OBSERVE
        assert not all(each.done() for each in busy)
        one.plane.let_go.set()
        *_, enforced = await asyncio.gather(*busy, return_exceptions=True)
        assert isinstance(enforced, Refused)
        assert "another one by now" in str(enforced)
        await one.house.age()
        assert not one.acts()
        assert not one.plane.ruleset.enforce
        assert one.kept()[0] is Mode.OBSERVE

    scenario(tmp_path, what)


def test_confirm_comes_too_late_also_where_nobody_has_looked(tmp_path: Path) -> None:
    """As after a SIGSTOP: the request is read before any timer rings."""

    async def what(one: Person) -> None:
        await one.ask("enforce", confirm_within=60.0)
        one.clocks.move(60.0)
        with pytest.raises(Refused, match="not confirmed"):
            await one.ask("confirm")

    scenario(tmp_path, what)


@pytest.mark.parametrize("how", ["for", "confirm_within"])
def test_time_ends_it_when_it_is_over(tmp_path: Path, how: str) -> None:
    async def what(one: Person) -> None:
        time = StanceTime(one.house.applier, one.clocks)
        one.house.current.told.append(time.changed)
        keeping = asyncio.create_task(time.keep())
        await one.ask("enforce", share=5, **{how: 3600.0})
        one.clocks.move(3599.0)
        assert time.left() == 1.0
        await asyncio.sleep(0.05)
        assert one.acts()
        one.clocks.move(1.0)
        async with asyncio.timeout(PATIENCE):
            while one.acts() or one.kept()[0] is Mode.ENFORCE:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not one.plane.armed
        assert time.left() == 0.0
        assert not keeping.done()
        keeping.cancel()

    scenario(tmp_path, what)


def test_a_halt_is_at_once_and_stays(tmp_path: Path) -> None:
    async def what(one: Person) -> None:
        await one.house.take(Halt(HaltReason.WITNESS, "1 packet"))
        assert not one.acts()
        await one.house.take(config_read(CONFIG + '[throttle]\nrate = "1mbit"\n'))
        await one.house.take(fetched("prefix,registration\n192.0.2.0/24,R-1\n"))
        assert not one.acts()
        stance = one.house.current.snapshot.stance
        assert stance.why == (Cause.HALTED, "1 packet", HaltReason.WITNESS)
        await one.ask("enforce")
        assert one.acts()

    scenario(tmp_path, what, CONFIG)


def test_a_smaller_share_lets_go_of_who_is_no_longer_chosen_and_nobody_else(
    tmp_path: Path,
) -> None:
    async def what(one: Person) -> None:
        subscribers = [Endpoint(bytes((100, 64, 2, n)), 40000) for n in range(100)]
        due = [
            flow
            for n, end in enumerate(subscribers)
            for packet in handshake(STRANGER, index=n, subscriber=end)
            for each in one.house.pipeline.take([packet], 1.0, NOW)
            for flow in each.flows
        ]
        assert len(due) == 100
        await one.plane.throttle(due)
        await one.ask("enforce", share=20)
        chosen = one.house.current.snapshot.chooses
        some = {flow.bucket for flow in one.plane.flows}
        assert some == {flow.bucket for flow in due if chosen(flow.bucket)}
        assert 5 < len(some) < 40
        await one.ask("enforce", share=60)
        assert {flow.bucket for flow in one.plane.flows} == some

    scenario(tmp_path, what, CONFIG)


def test_two_gateways_with_one_key_choose_alike_and_more_includes_fewer() -> None:
    buckets = [n.to_bytes(4) for n in range(10_000)]
    start = snapshot()
    one, other = (replace(start, share_key=b"of a fleet") for _ in range(2))

    def chosen(share: int) -> set[bytes]:
        both = [
            {
                bucket
                for bucket in buckets
                if replace(each, stance=replace(each.stance, share=share)).chooses(
                    bucket
                )
            }
            for each in (one, other)
        ]
        assert both[0] == both[1]
        return both[0]

    five, twenty = chosen(5), chosen(20)
    assert 400 <= len(five) <= 600
    assert five < twenty
    assert chosen(0) == set()
    assert len(chosen(100)) == 10_000
