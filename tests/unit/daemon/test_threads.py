# SPDX-License-Identifier: GPL-2.0-or-later
"""Where no thread is to be had the event loop goes on, and whoever asked is told."""

import _thread
import asyncio
import subprocess
import sys
from collections.abc import Callable

import pytest

from vpngate.daemon import threads
from vpngate.daemon.threads import in_thread
from vpngate.errors import MachineFault

# A thread's stack takes more than a megabyte of address space.
_NO_ROOM = """
import asyncio, resource
from pathlib import Path
from vpngate.daemon.threads import in_thread
from vpngate.errors import MachineFault

async def main():
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has + (1 << 20), -1))
    try:
        await in_thread(len, "four")
    except MachineFault as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    assert await in_thread(len, "four") == 4

asyncio.run(main())
"""


def test_no_room_for_a_thread_is_a_fault_of_the_machine() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _NO_ROOM], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("threads: no other can be begun; ")


def test_one_that_never_begins_is_given_up_and_not_begun_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where memory ends between its start and its first step."""
    begun: list[Callable[[], None]] = []
    done: list[int] = []
    monkeypatch.setattr(
        _thread, "start_new_thread", lambda run, _arguments: begun.append(run)
    )
    monkeypatch.setattr(threads, "BEGUN_WITHIN", 0.05)

    async def ask() -> None:
        with pytest.raises(MachineFault, match="no other can be begun"):
            await in_thread(done.append, 1)
        (late,) = begun
        late()
        await asyncio.sleep(0)

    asyncio.run(ask())
    assert done == []


def test_one_that_begins_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "BEGUN_WITHIN", 0.05)

    async def ask() -> str:
        loop = asyncio.get_running_loop()
        gate = _thread.allocate_lock()
        gate.acquire()

        def work() -> str:
            gate.acquire()
            return "done"

        loop.call_later(0.2, gate.release)
        return await in_thread(work)

    assert asyncio.run(ask()) == "done"


def test_work_that_runs_out_of_memory_is_a_fault_of_the_machine() -> None:
    def work() -> None:
        raise MemoryError

    async def ask() -> None:
        with pytest.raises(MachineFault, match="memory does not suffice"):
            await in_thread(work)

    asyncio.run(ask())
