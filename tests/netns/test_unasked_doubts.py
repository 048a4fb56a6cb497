# SPDX-License-Identifier: GPL-2.0-or-later
"""The lines that ask for verdicts, while the kernel's answers get lost or are no.

And where a verdict comes at the very moment that they go.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

import pytest

from tests.lab.plane import RULESET, in_gateway
from tests.lab.questions import (
    ALL,
    ASKING,
    BOTH_WAYS,
    NEITHER,
    NONE,
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
from vpngate.kernel.detour.verdict_lines import VerdictLines
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.wire import messages
from vpngate.kernel.wire.channel import Change, Channel
from vpngate.kernel.wire.failures import Rejected, Unanswered
from vpngate.packets import Family

pytestmark = pytest.mark.netns

OBSERVING = replace(RULESET, enforce=False)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch)


def test_a_verdict_given_while_the_lines_go_comes_behind_that(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are steps of one thread: the verdict's finds what the other has left."""
    given: list[Future[None]] = []

    async def scenario(plane: LiveDataPlane) -> None:
        loop, rest = asyncio.get_running_loop(), VerdictLines._rest

        def resting(lines: VerdictLines) -> None:
            if not given:
                giving = plane.throttle([flow(lab)])
                given.append(asyncio.run_coroutine_threadsafe(giving, loop))
                while not plane._lanes._waiting:  # behind this step
                    time.sleep(0.001)
            rest(lines)
            assert asking(listed()) == NONE

        monkeypatch.setattr(VerdictLines, "_rest", resting)
        await plane.start(RULESET)
        whole = listed()
        await plane.rearm()
        with soon():
            await until(lambda: bool(given) and given[0].done())
        assert listed() == whole
        assert await slowed(lab, plane) == BOTH_WAYS

    in_gateway(lab, scenario)


class _Answers:
    """The answers of a channel to changes of lines: some get lost, or are no."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Of the next few: "made" or "not made" where they get lost, else "refused".
        self.lose: Sequence[str] = ()
        self.all = False  # whether of any change
        self.lost = 0
        commit = Channel.commit
        comments = {line.comment for line in ASKING.values()}

        def lossy(channel: Channel, changes: Sequence[Change]) -> None:
            of_lines = self.all or any(
                one.what.startswith("a rule of ")
                or any(repr(comment) in one.what for comment in comments)
                for one in changes
            )
            if not (of_lines and self.lose):
                commit(channel, changes)
                return
            how, *self.lose = self.lose
            self.lost += 1
            if how == "refused":
                commit(channel, [*changes, messages.delete_set("vpngate", "none")])
            if how == "made":
                commit(channel, changes)
            raise Unanswered("netlink socket: No buffer space available")

        monkeypatch.setattr(Channel, "commit", lossy)


@pytest.mark.parametrize("first", ["made", "not made"])
@pytest.mark.parametrize("then", ["made", "not made"])
def test_an_answer_that_gets_lost_leaves_no_doubt_for_long(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, first: str, then: str
) -> None:
    """Lines go, or come back with a verdict, and nobody hears whether they did."""
    answers = _Answers(monkeypatch)

    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(RULESET)
        whole = listed()
        await plane.rearm()
        answers.lose = [first]  # as they go
        with soon():
            await until(lambda: not answers.lose)
        await plane.throttle([flow(lab)])
        assert listed() == whole
        assert await slowed(lab, plane) == BOTH_WAYS
        await plane.withdraw([flow(lab)])
        await quiet()
        answers.lose = [then]
        with pytest.raises(Unanswered):
            await plane.throttle([flow(lab)])
        made = then == "made"
        assert asking(listed()) in ((ALL,) if made else (NONE, ALL))
        assert await slowed(lab, plane) == (BOTH_WAYS if made else NEITHER)
        await plane.throttle([flow(lab)])
        assert listed() == whole
        assert await slowed(lab, plane) == BOTH_WAYS
        await plane.withdraw([flow(lab)])
        await quiet()
        assert listed() == without(whole)

    in_gateway(lab, scenario)
    assert answers.lost == 2


def test_a_refused_verdict_changes_nothing_and_the_next_one_slows(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = _Answers(monkeypatch)

    async def scenario(plane: LiveDataPlane) -> None:
        whole = await started(plane)
        answers.lose = ["refused"]
        with pytest.raises(Rejected):
            await plane.throttle([flow(lab)])
        assert asking(listed()) in (NONE, ALL)  # those of a look that found it open
        assert await slowed(lab, plane) == NEITHER
        assert plane._steps.throttled.verdicts() == []
        await plane.throttle([flow(lab)])
        assert listed() == whole
        assert await slowed(lab, plane) == BOTH_WAYS

    in_gateway(lab, scenario)


@pytest.mark.parametrize("how", ["made", "not made"])
def test_a_change_of_rules_whose_answer_gets_lost_asks_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The old rules without a question, or the new ones with it: nobody knows."""
    answers = _Answers(monkeypatch)
    signatures = tuple(s for s in RULESET.signatures if "esp" not in s.name)

    async def scenario(plane: LiveDataPlane) -> None:
        whole = await started(plane)
        answers.lose = [how]
        with pytest.raises(Unanswered):
            await plane.replace(replace(RULESET, signatures=signatures))
        await plane.throttle([flow(lab)])
        assert asking(listed()) == ALL
        assert await slowed(lab, plane) == BOTH_WAYS
        await plane.replace(replace(RULESET, signatures=signatures))
        await plane.replace(RULESET)
        found = listed()  # elsewhere other sets of spared addresses are asked by now
        assert all(found[chain] == whole[chain] for chain in ASKING)
        assert await slowed(lab, plane) == BOTH_WAYS

    in_gateway(lab, scenario)
    assert answers.lost == 1


@pytest.mark.parametrize("how", ["made", "not made"])
def test_to_observe_with_a_lost_answer_keeps_no_verdict_from_its_map(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The chains may be gone whose lines are thought to be out."""
    answers = _Answers(monkeypatch)

    async def scenario(plane: LiveDataPlane) -> None:
        whole = await started(plane)
        answers.lose, answers.all = [how], True
        with pytest.raises(Unanswered):
            await plane._do(plane._steps._put_up, OBSERVING, plane._steps.table.commit)
        answers.all = False
        for _ in range(2):
            await plane.throttle([flow(lab)])
            assert asking(listed()) == (NONE if how == "made" else ALL)
        assert plane._steps.throttled.live[Family.IPV4] == 1
        await plane._do(plane._steps._put_up, RULESET, plane._steps.table.commit)
        assert listed() == whole
        assert await slowed(lab, plane) == BOTH_WAYS

    in_gateway(lab, scenario)
