# SPDX-License-Identifier: GPL-2.0-or-later
"""Where nobody is slowed no packet is asked for a verdict, and whoever is to be is.

What goes and comes back is the first line of each chain of flows. Nothing else of the
table changes by that: it is compared as nft lists it, without handles and counts.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

import pytest

from tests.lab.plane import RULESET, data_plane, in_gateway
from tests.lab.questions import (
    ALL,
    ASKING,
    BOTH_WAYS,
    NEITHER,
    NONE,
    QUESTION,
    SOON,
    asking,
    flow,
    hasten,
    listed,
    quiet,
    slowed,
    soon,
    started,
    until,
    without,
)
from tests.lab.topology import Lab
from vpngate.kernel import live
from vpngate.kernel.detour import verdict_lines
from vpngate.kernel.live import LiveDataPlane
from vpngate.packets import Transport
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset

pytestmark = pytest.mark.netns

_SEED = 29
OTHER_SPARED = Intervals.of_prefixes(["192.0.2.0/24"])


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch)


@pytest.mark.parametrize("version", [4, 6])
def test_the_first_verdict_slows_both_ways_at_once(lab: Lab, version: int) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        whole = await started(plane)
        assert str(whole).count(QUESTION) == len(ASKING)
        assert str(listed()).count(QUESTION) == 0
        assert listed() == without(whole)
        assert await slowed(lab, plane, version) == NEITHER
        assert await plane.verify() == []
        await plane.throttle([flow(lab, version)])
        assert await slowed(lab, plane, version) == BOTH_WAYS
        assert listed() == whole
        with soon():
            await asyncio.sleep(3 * SOON)
        assert await plane.verify() == []
        assert listed() == whole
        await plane.withdraw([flow(lab, version)])
        await quiet()
        assert listed() == without(whole)
        assert await slowed(lab, plane, version) == NEITHER
        assert await plane.verify() == []

    in_gateway(lab, scenario)


@pytest.mark.parametrize(
    "transport", [t for t in Transport if t is not Transport.UDP], ids=lambda t: t.label
)
def test_whichever_transport_is_slowed_first_all_chains_ask_again(
    lab: Lab, transport: Transport
) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        whole = await started(plane)
        await plane.throttle([flow(lab, 6, transport)])
        assert listed() == whole
        assert await plane.release(lambda _: True) == 1
        await quiet()

    in_gateway(lab, scenario)


def test_a_verdict_that_ends_by_itself_takes_the_question_along(lab: Lab) -> None:
    """Nobody tells when the kernel has ended one; and not one goes before the last."""

    async def scenario(plane: LiveDataPlane) -> None:
        whole = await started(plane)
        short, long = (replace(flow(lab, port=n), idle=n) for n in (2, 9))
        await plane.throttle([short, long])
        await until(lambda: len(plane._steps.throttled.verdicts()) == 1)
        with soon():
            await asyncio.sleep(3 * SOON)
        assert listed() == whole
        await quiet()
        assert plane._steps.throttled.verdicts() == []
        assert listed() == without(whole)

    in_gateway(lab, scenario)


def test_changes_of_rules_leave_each_chain_one_question_or_none(lab: Lab) -> None:
    other = replace(
        RULESET,
        spared=OTHER_SPARED,
        signatures=tuple(s for s in RULESET.signatures if "esp" not in s.name),
    )

    async def scenario(plane: LiveDataPlane) -> None:
        whole = await started(plane)
        await plane.replace(replace(RULESET, spared=OTHER_SPARED))  # of sets alone
        assert asking(listed()) == NONE
        for held in (False, True):
            if held:
                await plane.throttle([flow(lab)])
            for ruleset in (other, RULESET):
                await plane.replace(ruleset)
                assert asking(listed()) == ALL
                await plane.throttle([flow(lab)])
                assert await slowed(lab, plane) == BOTH_WAYS
                assert asking(listed()) == ALL
                if not held:
                    await plane.withdraw([flow(lab)])
                    await quiet()
        await plane.replace(replace(RULESET, enforce=False))
        observing = listed()
        assert not observing.keys() & ASKING.keys()
        await plane.throttle([flow(lab)])
        with soon():
            await asyncio.sleep(3 * SOON)
        assert listed() == observing
        await plane.replace(RULESET)
        await plane.rearm()
        assert listed() == whole
        await quiet()
        await plane.throttle([flow(lab)])
        assert await slowed(lab, plane) == BOTH_WAYS

    in_gateway(lab, scenario)


def test_rules_put_up_anew_for_an_interface_ask_once(lab: Lab) -> None:
    def text() -> str:
        return lab.gateway.run("nft", "list", "table", "netdev", "vpngate")

    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(replace(RULESET, interfaces=("lan0", "lan1", "guest0")))
        await plane.rearm()
        await quiet()
        for _ in range(2):
            lab.gateway.run("ip", "link", "add", "guest0", "type", "veth")
            try:
                await until(lambda: "guest0" in text())
                await plane.verify()
                await plane.throttle([flow(lab)])
                assert asking(listed()) == ALL
                assert await slowed(lab, plane) == BOTH_WAYS
                await plane.withdraw([flow(lab)])
            finally:
                lab.gateway.run("ip", "link", "del", "guest0")
            await plane.verify()
            await quiet()

    in_gateway(lab, scenario)


def test_many_quick_comings_and_goings_leave_the_table_as_it_was(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines go at once, so that verdicts come while they do."""
    random = Random(_SEED)
    gone = 0

    async def scenario(plane: LiveDataPlane) -> None:
        nonlocal gone
        whole = await started(plane)
        monkeypatch.setattr(verdict_lines, "QUIET", 0.0)
        monkeypatch.setattr(live, "_LOOK_AFTER", 0.001)
        for number in range(20):
            await plane.throttle([flow(lab)])
            assert await asyncio.to_thread(listed) == whole, f"round {number}"
            assert await slowed(lab, plane) == BOTH_WAYS, f"round {number}"
            await plane.withdraw([flow(lab)])
            await asyncio.sleep(random.random() * 0.05)
            now = asking(await asyncio.to_thread(listed))
            assert now in (ALL, NONE), f"round {number}"
            gone += now == NONE
        await quiet()
        assert listed() == without(whole)

    in_gateway(lab, scenario)
    assert gone


def test_daemons_beside_each_other_ask_each_for_its_own(lab: Lab) -> None:
    beside = replace(RULESET, table="other", hook_priority=600)

    async def scenario(plane: LiveDataPlane) -> None:
        async with _running(beside) as other:
            await plane.start(RULESET)
            await plane.rearm()
            await other.throttle([flow(lab)])
            await quiet()
            assert asking(listed("other")) == ALL
            assert await slowed(lab, other) == BOTH_WAYS
            assert asking(listed()) == NONE
            await plane.throttle([flow(lab, port=9)])
            assert asking(listed()) == ALL
            await other.withdraw([flow(lab)])
            with soon():
                await until(lambda: asking(listed("other")) == NONE)
            assert asking(listed()) == ALL

    in_gateway(lab, scenario)


@asynccontextmanager
async def _running(ruleset: Ruleset) -> AsyncIterator[LiveDataPlane]:
    plane = data_plane()
    try:
        await plane.start(ruleset)
        await plane.rearm()
        yield plane
    finally:
        await plane.stop()
