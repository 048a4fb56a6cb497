# SPDX-License-Identifier: GPL-2.0-or-later
"""What the thread of the live data plane makes of work that fails."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import pytest

from vpngate.errors import KernelRefused
from vpngate.kernel.live import LiveDataPlane


def test_what_libraries_raise_is_one_line_and_names_the_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def look_up() -> NoReturn:
        raise IndexError("list index out of range")

    async def scenario() -> None:
        plane = LiveDataPlane()
        with ThreadPoolExecutor(1) as thread:
            monkeypatch.setattr(plane, "_thread", thread)
            with pytest.raises(KernelRefused, match="the step 'look up'") as caught:
                await plane._do(look_up)
        assert len(caught.value.lines) == 1

    asyncio.run(scenario())


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
        monkeypatch.setattr(plane, "_advance", nothing)
        with ThreadPoolExecutor(1) as thread:
            monkeypatch.setattr(plane, "_thread", thread)
            task = asyncio.create_task(plane._repair_when_wanted())
            for line in ("cannot repair the data plane", "repaired in the kernel: ifb"):
                plane._repair_wanted.set()
                async with asyncio.timeout(60):
                    while line not in caplog.text:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
            task.cancel()

    asyncio.run(scenario())
