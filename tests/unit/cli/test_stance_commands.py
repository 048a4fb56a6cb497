# SPDX-License-Identifier: GPL-2.0-or-later
"""enforce, confirm, observe: one line, an exit status, and the daemon's own stance."""

import asyncio
import json
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.unit.cli.conftest import Run
from tests.unit.daemon.gatehouse import CONFIG, Gatehouse, snapshot
from vpngate.daemon.outside.control import ControlServer
from vpngate.daemon.stance.verbs import StanceVerbs
from vpngate.stance import Stance

OBSERVING = CONFIG.replace("enforce", "observe")


class Served:
    """A daemon's stance behind a control socket, in a thread of its own."""

    def __init__(self, folder: Path, text: str) -> None:
        self.socket = folder / "control.sock"
        self._text = text
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._serve(),)
        )

    async def _serve(self) -> None:
        self.house = Gatehouse(snapshot(self._text))
        await self.house.open()
        server = ControlServer(self.socket, StanceVerbs(self.house.applier).handlers)
        await server.start()
        self._started.set()
        await self._stop.wait()
        await server.stop()
        self.house.applying.cancel()
        await asyncio.gather(self.house.applying, return_exceptions=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    @property
    def stance(self) -> Stance:
        return self.house.current.snapshot.stance


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path, OBSERVING) as one:
        yield one


def test_each_says_in_one_line_what_is_in_force(
    run: Run, served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        words = ["enforce", "--share", "5%", "--for", "8h", "--confirm-within", "10m"]
        status, out, err = run(*words, "--socket", served.socket)
    assert (status, err) == (0, [])
    (line,) = out.splitlines()
    assert line.startswith("enforce for 5% of the subscribers, until 20")
    assert line.endswith(f"else observe (asked: uid {os.getuid()})")
    assert served.stance.share == 5
    assert served.stance.until is not None
    assert served.stance.until.seconds == 8 * 3600
    assert served.stance.confirm_by is not None
    assert served.stance.confirm_by.seconds == 600
    told = [each for each in caplog.messages if f"uid {os.getuid()}" in each]
    assert len(told) == 2, "that it was asked for, and what came of it"
    status, out, _ = run("confirm", "--socket", served.socket)
    assert (status, "else observe" in out) == (0, False)
    status, out, _ = run("observe", "--socket", served.socket, "--format", "json")
    assert status == 0
    assert json.loads(out)["stance"].startswith("observe")
    assert not served.stance.enforcing


def test_what_cannot_be_confirmed_is_a_no(run: Run, served: Served) -> None:
    status, out, err = run("confirm", "--socket", served.socket)
    assert (status, out, len(err)) == (1, "", 1)
    assert err[0].startswith("stance: nothing waits to be confirmed")


@pytest.mark.parametrize(
    "words",
    [
        ["--share", "101"],
        ["--share", "five"],
        ["--share", "2.5"],
        ["--share", "-1"],
        ["--for", "8"],
        ["--for", "0s"],
        ["--for", "9999d"],
        ["--confirm-within", "soon"],
    ],
)
def test_wrong_use_is_one_line(run: Run, served: Served, words: list[str]) -> None:
    before = served.stance
    status, out, err = run("enforce", *words, "--socket", served.socket)
    assert (status, out, len(err)) == (2, "", 1)
    assert served.stance is before


def test_where_nothing_can_be_enforced_it_is_a_no(run: Run, tmp_path: Path) -> None:
    with Served(tmp_path, OBSERVING + '[capture]\nsource = "mirror"\n') as one:
        status, out, err = run("enforce", "--socket", one.socket)
    assert (status, out, len(err)) == (1, "", 1)
    assert "mirror port" in err[0]


@pytest.mark.parametrize("name", ["enforce", "confirm", "observe"])
def test_without_a_daemon(run: Run, tmp_path: Path, name: str) -> None:
    status, out, err = run(name, "--socket", tmp_path / "none")
    assert (status, out, len(err)) == (2, "", 1)
