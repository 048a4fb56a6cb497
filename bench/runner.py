# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs rows one after the other, each in a process of its own, and never ends for one.

Knows how long a row may take and how to end it; does not know what it measures.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.contract import Curve, Effort, Figure, from_data
from bench.machine import machine
from bench.noise import LOOPS, Noise, noise
from bench.result import Result, RowResult

_ROOT = Path(__file__).parent.parent
# A row that takes so many times what it may is ended: a busy machine is no failure.
_PATIENCE = 3.0
_IMPORTS = 60.0  # seconds until a row has said what it may take
_LEAST = 180.0  # seconds, however little it may take
_GRACE = 30.0  # seconds to clear up in

_PARTS = {Effort.WHOLE: 1.0, Effort.QUICK: 0.2, Effort.TINY: 0.1}


class RowFailed(Exception):
    """A row did not come to its end."""


def run(
    names: Iterable[str],
    effort: Effort,
    *,
    missing: Iterable[str] = (),
    told: Callable[[RowResult], None] = lambda _: None,
) -> Result:
    """Run these rows; `told` hears of each when it is done."""
    began, begin = datetime.now(UTC), time.monotonic()
    done = []
    for name in names:
        done.append(one(name, effort))
        told(done[-1])
    return Result(
        effort,
        began.isoformat(timespec="seconds"),
        round(time.monotonic() - begin, 1),
        machine(),
        tuple(missing),
        tuple(done),
    )


def one(name: str, effort: Effort) -> RowResult:
    """Run one row, with a look at the machine before and after."""
    loops = effort.pick(whole=LOOPS, quick=LOOPS, tiny=4)
    before = _rounded(noise(loops))
    said: dict[str, Any] = {"title": name, "about": "", "seconds": 0.0}
    items: list[Figure | Curve] = []
    failed = ""
    begin = time.monotonic()
    try:
        for data in _lines(name, effort, said):
            items.append(from_data(data))  # noqa: PERF401 - kept, if it fails later
    except RowFailed as error:
        failed = str(error)
    seconds = round(time.monotonic() - begin, 1)
    noises = before, _rounded(noise(loops))
    title, about = said["title"], said["about"]
    return RowResult(name, title, about, seconds, failed, noises, tuple(items))


def _rounded(found: Noise) -> Noise:
    clock, processor = (
        tuple(round(value, 3) for value in each)
        for each in (found.clock, found.processor)
    )
    return Noise(clock, processor)


def _lines(name: str, effort: Effort, said: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What the row hands back, as it comes; into `said` what it says of itself."""
    command = [sys.executable, "-m", "bench.one_row", name, effort.value]
    with subprocess.Popen(
        command,
        cwd=_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            yield from _read(process, effort, said)
        finally:
            _end(process)


def _read(
    process: subprocess.Popen[bytes], effort: Effort, said: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    assert process.stderr is not None
    outputs = {process.stdout.fileno(): b"", process.stderr.fileno(): b""}
    first, printed = process.stdout.fileno(), process.stderr.fileno()
    left = set(outputs)
    begun = False
    # Nobody but the row itself has its end of the first: it ends with the row.
    deadline = time.monotonic() + _IMPORTS * _PATIENCE
    while first in left:
        ready, _, _ = select.select(left, [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise RowFailed(f"not done in time; {_last(outputs[printed])}")
        for number in ready:
            chunk = os.read(number, 1 << 16)
            if not chunk:
                left.discard(number)
            outputs[number] += chunk
        *lines, outputs[first] = outputs[first].split(b"\n")
        for line in lines:
            data = json.loads(line)
            if begun:
                yield data
            else:
                begun = True
                said.update(data)
                most = said["seconds"] * _PARTS[effort] * _PATIENCE
                deadline = time.monotonic() + max(most, _LEAST)
    if process.wait() != 0:
        while printed in left and select.select([printed], [], [], 0)[0]:
            chunk = os.read(printed, 1 << 16)
            if not chunk:
                break
            outputs[printed] += chunk
        raise RowFailed(_last(outputs[printed]))


def _last(printed: bytes) -> str:
    """The last line that a row printed: of an exception what it says."""
    text = printed.decode(errors="replace").strip()
    print(text, file=sys.stderr, flush=True)
    return text.rpartition("\n")[2] or "it said nothing"


def _end(process: subprocess.Popen[bytes]) -> None:
    """If it has not ended, ask it to, then make it, and what it has left behind."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
