# SPDX-License-Identifier: GPL-2.0-or-later
"""Publishers that are killed: at each call that changes a file, and at any moment.

Whatever was published before stands, or what came after it, and never half of each.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from tests.faults.publishers import NAME, Child, Portal, folder_in_memory, serial_of

# What changes what is there; strace takes those that an architecture has.
CHANGES = ",".join(
    f"?{name}"
    for name in (
        *("mkdir", "mkdirat", "write", "fsync", "symlink", "symlinkat", "rmdir"),
        *("rename", "renameat", "renameat2", "unlink", "unlinkat"),
    )
)
PATIENCE = 60.0  # seconds
UNSIGNED = b'{"registry": "portal", "serial": 7, "registrations": []}'


@pytest.fixture
def portal() -> Iterator[Portal]:
    with folder_in_memory() as folder:
        yield Portal(Path(folder))


def nothing(_: Portal) -> None:
    """The first publication."""


def published(portal: Portal) -> None:
    assert portal.publish() == 0


def by_hand(portal: Portal) -> None:
    """Files, as they were before `vpngate publish`."""
    data = UNSIGNED.replace(b"[]", b'[{"prefix": "192.0.2.0/24", "registration": "R"}]')
    portal.path.write_bytes(data)
    portal.signature.write_bytes(portal.signer.sign(data))


def unsigned(portal: Portal) -> None:
    portal.path.write_bytes(UNSIGNED)


def traced(portal: Portal, *options: str) -> int:
    """How a publication ends that strace looks at from its beginning."""
    child = portal.child()
    strace = subprocess.Popen(
        ["strace", "-qq", "-p", str(child.pid), *options], stderr=subprocess.DEVNULL
    )
    try:
        seen = wait_for_tracer(child, strace)
        child.go()
        status = child.end()
        strace.wait(PATIENCE)
    finally:
        strace.kill()
        strace.wait()
    if not seen:
        pytest.skip("strace may not look at processes here")
    return status


def changes(portal: Portal) -> list[tuple[str, int]]:
    """What a publication changes, in its order: each call, and which of its name."""
    log = portal.rows.with_name("log")
    assert traced(portal, "-o", str(log), "-e", f"trace={CHANGES}") == 0
    names = [line.partition("(")[0] for line in log.read_text().splitlines()]
    calls = [name for name in names if name.isidentifier()]
    return [(name, calls[: at + 1].count(name)) for at, name in enumerate(calls)]


def wait_for_tracer(child: Child, strace: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + PATIENCE
    status = Path(f"/proc/{child.pid}/status")
    while "TracerPid:\t0\n" in status.read_text():
        if strace.poll() is not None or time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def after_a_kill(portal: Portal, before: tuple[bytes | None, bytes | None]) -> bool:
    """Whether the new one is there; the next publication leaves nothing behind."""
    shown = portal.look()
    new = shown != before
    if new:
        assert portal.fits(*shown)
    assert portal.publish() == 0
    last = serial_of(before[0]) if before[0] else 0
    assert portal.serial() == last + 1 + new
    versions = {path for path in portal.beside() if path.count("/") == 1}
    numbers = {path.rpartition("/")[2] for path in versions} - {"current"}
    assert len(numbers) == 2
    assert all(number.isdecimal() for number in numbers)
    assert set(portal.beside()) - versions == {
        f".{NAME}.versions",
        NAME,
        f"{NAME}.minisig",
        *(f".{NAME}.versions/{n}/{each}" for n in numbers for each in files(portal, n)),
    }
    return new


def files(portal: Portal, number: str) -> list[str]:
    folder = portal.www / f".{NAME}.versions" / number
    return [path.name for path in folder.iterdir()]


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("stage", [nothing, unsigned, by_hand, published])
def test_killed_at_each_change(portal: Portal, stage: Callable[[Portal], None]) -> None:
    stage(portal)
    outcomes = []
    for name, number in changes(portal):
        shutil.rmtree(portal.www)
        portal.www.mkdir()
        stage(portal)
        before = portal.look()
        kill = f"inject={name}:signal=KILL:when={number}"
        assert traced(portal, "-o", os.devnull, "-e", kill) == -signal.SIGKILL
        outcomes.append(after_a_kill(portal, before))
    # Of a version alone: a folder, two files, four times to disk, a link, its turn.
    assert len(outcomes) > 10
    # Until one change it is the one before, and from there on the new one.
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {False, True}


def test_killed_at_any_moment(portal: Portal) -> None:
    assert portal.publish() == 0
    began = time.monotonic()
    assert portal.publish() == 0
    usual = time.monotonic() - began
    random = Random(13)
    killed = 0
    for _ in range(20):
        before, last = portal.look(), portal.serial()
        child = portal.child()
        child.go()
        time.sleep(usual * random.uniform(0.3, 1.1))
        os.kill(child.pid, signal.SIGKILL)
        killed += child.end() != 0
        assert portal.serial() == last + (portal.look() != before)
    assert killed
