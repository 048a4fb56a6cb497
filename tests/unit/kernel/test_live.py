# SPDX-License-Identifier: GPL-2.0-or-later
"""What the thread of the live data plane makes of work that fails."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import NoReturn, cast

import pytest

from tests.rulesets import RULESET
from vpngate.errors import KernelRefused, Problem
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.table.owned import OwnedTable, Rules
from vpngate.kernel.table.protected import Look, ProtectedSets
from vpngate.kernel.table.readback import Compared
from vpngate.kernel.table.spared import SparedSets
from vpngate.kernel.way import Way
from vpngate.kernel.wire.failures import Unanswered
from vpngate.prefixes.intervals import Intervals


@contextlib.contextmanager
def opened(plane: LiveDataPlane) -> Iterator[None]:
    plane._lanes.open()
    try:
        yield
    finally:
        plane._lanes.close()


def test_what_libraries_raise_is_one_line_and_names_the_step() -> None:
    def look_up() -> NoReturn:
        raise IndexError("list index out of range")

    async def scenario() -> None:
        plane = LiveDataPlane()
        failing = pytest.raises(KernelRefused, match="the step 'look up'")
        with opened(plane), failing as caught:
            await plane._do(look_up)
        assert len(caught.value.lines) == 1

    asyncio.run(scenario())


def test_what_is_undone_each_time_is_repaired_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The traffic flows unslowed meanwhile, and the daemon has other things to do."""
    repairs = 0

    async def scenario() -> None:
        plane = LiveDataPlane()

        async def mend() -> list[str]:
            nonlocal repairs
            repairs += 1
            plane._repair_wanted.set()  # it is announced that it was undone
            return ["ifb"]

        monkeypatch.setattr(plane._mending, "mend", mend)
        plane._repair_wanted.set()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await plane._repair_when_wanted()

    asyncio.run(scenario())
    assert 1 < repairs <= 6


def test_repairing_goes_on_after_a_failure_nobody_thought_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers = iter([None, ["ifb"]])

    def repair() -> list[str]:
        answer = next(answers)
        if answer is None:
            raise AttributeError("nobody thought of this")
        return answer

    async def nothing() -> None: ...

    async def scenario() -> None:
        plane = LiveDataPlane()
        monkeypatch.setattr(plane._steps, "repair", repair)
        monkeypatch.setattr(plane._steps, "rules", lambda *_: None)
        monkeypatch.setattr(plane._steps, "mended", lambda *_: None)
        monkeypatch.setattr(plane._steps, "ruleset", None, raising=False)
        monkeypatch.setattr(plane._sparing, "clear_away", nothing)
        monkeypatch.setattr(plane._mending, "end_verdicts", nothing)
        monkeypatch.setattr(plane._mending, "advance", nothing)
        with opened(plane):
            task = asyncio.create_task(plane._repair_when_wanted())
            for line in ("cannot repair the data plane", "repaired in the kernel: ifb"):
                plane._repair_wanted.set()
                async with asyncio.timeout(60):
                    while line not in caplog.text:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
            task.cancel()

    asyncio.run(scenario())


def test_rules_that_cannot_be_put_up_hold_up_no_ifb(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fitted: list[bool] = []
    left = [True, True, False]

    def refuse(*_: object) -> NoReturn:
        raise KernelRefused("no chain can be hooked")

    async def nothing() -> None: ...

    async def scenario() -> None:
        plane = LiveDataPlane()
        steps = plane._steps
        steps.ruleset, steps.stale = RULESET, True
        steps.table = cast("OwnedTable", SimpleNamespace(commit=refuse))
        way = SimpleNamespace(
            fit=lambda _rate, *, wanted: fitted.append(wanted),
            advance=lambda: left.pop(0),
        )
        steps.way = cast("Way", way)
        monkeypatch.setattr(steps, "repair", list)
        monkeypatch.setattr(steps, "rules", lambda _: Rules([]))
        monkeypatch.setattr(steps, "_put_up", refuse)
        monkeypatch.setattr(plane._mending, "end_verdicts", nothing)
        with opened(plane), pytest.raises(KernelRefused, match="no chain"):
            await plane._mending.mend()

    asyncio.run(scenario())
    assert fitted == [RULESET.enforce]
    assert not left


def test_a_comparison_sees_no_change_that_is_not_whole_yet() -> None:
    """Its parts are in the kernel already, and not in what should be there."""
    asked: list[str] = []

    def compare(*_: object) -> Compared:
        asked.append("compare")
        return Compared(0, 0, None)

    def surplus(_: object) -> int:
        asked.append("surplus")
        return 0

    sets = SimpleNamespace(compare=compare, surplus=surplus, doubted=False)

    async def scenario() -> None:
        plane = LiveDataPlane()
        plane._steps.spared = cast("SparedSets", sets)
        plane._steps.protected = cast("ProtectedSets", sets)
        with opened(plane):
            async with plane._changing:
                comparing = asyncio.create_task(plane.compare())
                for _ in range(20):
                    await plane._do(int)
                assert not asked
            assert (await comparing).equal

    asyncio.run(scenario())
    assert asked == ["compare", "surplus"] * 2 * 2


@pytest.mark.parametrize("harmed", ["registered", "protected", "another part"])
def test_what_cannot_be_put_right_is_a_disagreement_each_time(
    monkeypatch: pytest.MonkeyPatch, harmed: str
) -> None:
    """And who is spared is asked first: nothing else that is amiss stands before it."""
    asked: list[str] = []

    def refuse(*_: object) -> NoReturn:
        raise KernelRefused("no memory")

    async def refused(*_: object) -> NoReturn:
        refuse()

    async def nothing(*_: object) -> None: ...

    def agrees(*_: object) -> bool:
        asked.append("agrees")
        return harmed != "registered"

    def look() -> Look:
        return Look(doubted=False, apart=harmed == "protected")

    async def scenario() -> None:
        plane = LiveDataPlane()
        sets = SimpleNamespace(
            sample=lambda: [("family", "few")],
            agrees=agrees,
            held=None,
            abandon=lambda: None,
        )
        plane._steps.spared = cast("SparedSets", sets)
        protected = SimpleNamespace(look=look, put_anew=refuse)
        plane._steps.protected = cast("ProtectedSets", protected)
        monkeypatch.setattr(plane._sparing, "fill_anew", refused)
        monkeypatch.setattr(plane._sparing, "give_up", nothing)
        monkeypatch.setattr(plane._mending, "check", refused)
        with opened(plane):
            for _ in range(3):
                with pytest.raises(KernelRefused):
                    await plane.verify()
        expected = 0 if harmed == "another part" else 3
        assert plane._sparing.disagreements == expected

    asyncio.run(scenario())
    assert ("agrees" in asked) == (harmed != "protected")


@pytest.mark.parametrize("asked", ["protected", "registered"])
@pytest.mark.parametrize("doubted", [False, True])
def test_a_question_without_an_answer_is_no_disagreement(
    asked: str, *, doubted: bool
) -> None:
    """Nothing is known of what the kernel has, where its answers do not fit."""

    def unanswered(*_: object) -> NoReturn:
        raise KernelRefused("no buffer space")

    def look() -> Look:
        if asked == "protected":
            unanswered()
        return Look(doubted=doubted, apart=False)

    async def scenario() -> None:
        plane = LiveDataPlane()
        sets = SimpleNamespace(sample=lambda: [("family", "few")], agrees=unanswered)
        plane._steps.spared = cast("SparedSets", sets)
        protected = SimpleNamespace(look=look, put_anew=lambda: None)
        plane._steps.protected = cast("ProtectedSets", protected)
        with opened(plane):
            for _ in range(3):
                with pytest.raises(KernelRefused):
                    await plane.verify()
        assert plane._sparing.differed == 0

    asyncio.run(scenario())


def test_what_was_wrong_counts_also_where_the_next_question_has_no_answer() -> None:
    """It was seen, and it is put right; nothing is known of the rest."""

    def unanswered(*_: object) -> NoReturn:
        raise KernelRefused("no buffer space")

    async def scenario() -> None:
        plane = LiveDataPlane()
        sets = SimpleNamespace(sample=lambda: [("family", "few")], agrees=unanswered)
        plane._steps.spared = cast("SparedSets", sets)
        protected = SimpleNamespace(
            look=lambda: Look(doubted=False, apart=True), put_anew=lambda: None
        )
        plane._steps.protected = cast("ProtectedSets", protected)
        with opened(plane), pytest.raises(KernelRefused):
            await plane.verify()
        assert plane._sparing.differed == 1

    asyncio.run(scenario())


def test_what_comes_into_doubt_while_a_look_waits_is_no_disagreement() -> None:
    """The step before it lost the kernel's answer: nothing was seen to be wrong."""
    answering = threading.Event()

    def lose(sets: ProtectedSets) -> NoReturn:
        answering.wait()
        with contextlib.suppress(Unanswered):
            sets.put(Intervals.empty())
        raise KernelRefused("no answer")

    def unanswered(*_: object) -> NoReturn:
        raise Unanswered(Problem("netlink socket", "no answer"))

    async def scenario() -> None:
        plane = LiveDataPlane()
        protected = ProtectedSets(cast("OwnedTable", _Once(unanswered)))
        plane._steps.protected = protected
        plane._steps.spared = cast("SparedSets", SimpleNamespace(sample=list))
        with opened(plane):
            before = asyncio.create_task(plane._do(lose, protected))
            look = asyncio.create_task(plane._sparing.verify())
            await asyncio.sleep(0)
            answering.set()
            with pytest.raises(KernelRefused):
                await before
            assert await look
        assert plane._sparing.disagreements == 0
        assert not protected.doubted

    asyncio.run(scenario())


class _Once:
    """A table whose first change gets no answer."""

    def __init__(self, first: Callable[..., NoReturn]) -> None:
        self.changed = 0.0
        self._first: list[Callable[..., NoReturn]] = [first]

    def protect(self, *_: object) -> None:
        if self._first:
            self._first.pop()()
