# SPDX-License-Identifier: GPL-2.0-or-later
"""The last good registry on a disk that is full, refuses, fails, or is shared."""

import errno
import fcntl
import os
import random
import resource
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.last_good import GOOD, NEXT, contents
from vpngate.errors import FeedFault
from vpngate.feed import LastGood, Reason, Store, Validators
from vpngate.feed.state import statefolder


def in_child(action: Callable[[], bool]) -> int:
    """The exit status of a child that runs `action`: 0 if it returns True."""
    child = os.fork()
    if child == 0:  # pragma: no cover
        status = 9
        try:
            status = 0 if action() else 1
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def test_file_too_large_for_the_limit(state: Path) -> None:
    """EFBIG, in a child with a limit on file sizes."""
    Store(state).save(GOOD)
    before = contents(state)
    large = LastGood(os.urandom(2**20), None, Validators())

    def save() -> bool:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
        try:
            Store(state).save(large)
        except FeedFault as fault:
            return fault.reason == Reason.STATE_UNWRITABLE and "room" in str(fault)
        return False

    assert in_child(save) == 0
    assert contents(state) == before
    assert Store(state).load() == GOOD


DISK_FULL = """
import pathlib, sys
from vpngate.errors import FeedFault
from vpngate.feed import LastGood, Store, Validators
state = pathlib.Path(sys.argv[1])
store = Store(state)
old = LastGood(b"a" * 100_000, None, Validators(), b"memory")
store.save(old)
before = sorted(path.name for path in state.iterdir())
for size in (900_000, 1_030_000, 2_000_000):
    try:
        store.save(LastGood(b"b" * size, None, Validators(), b"m" * 100_000))
    except FeedFault as fault:
        print(fault.reason, fault)
    assert store.load() == old
    assert sorted(path.name for path in state.iterdir()) == before
store.save(LastGood(b"c" * 500_000, None, Validators()))
assert store.load().data == b"c" * 500_000
"""


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small tmpfs")
def test_disk_full(tmp_path: Path) -> None:
    """ENOSPC on a file system of a mebibyte: the registry is too large, or the memory
    beside it; what stood still stands and nothing half-written takes up room."""
    mount = (
        f'mount -t tmpfs -o size=1m tmpfs "$0" && exec "{sys.executable}" -c "$1" "$0"'
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount, str(tmp_path), DISK_FULL],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert line.startswith("state_unwritable")
        assert "No space left on device" in line
        assert "make room" in line


READ_ONLY = """
import pathlib, sys
from vpngate.errors import FeedFault
from vpngate.feed import LastGood, Store, Validators
try:
    Store(pathlib.Path(sys.argv[1])).save(LastGood(b"new", None, Validators()))
except FeedFault as fault:
    print(fault.reason, fault)
print(Store(pathlib.Path(sys.argv[1])).load().data)
"""


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount read-only")
def test_read_only(state: Path) -> None:
    Store(state).save(GOOD)
    mount = (
        'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && '
        f'exec "{sys.executable}" -c "$1" "$0"'
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount, str(state), READ_ONLY],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    refusal, kept = done.stdout.splitlines()
    assert refusal.startswith("state_unwritable")
    assert "Read-only file system" in refusal
    assert kept == repr(GOOD.data)


def test_folder_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    for state in (path, path / "below"):
        with pytest.raises(FeedFault) as caught:
            Store(state).save(GOOD)
        assert caught.value.reason == Reason.STATE_UNWRITABLE
        with pytest.raises(FeedFault) as caught:
            Store(state).load()
        assert caught.value.reason == Reason.STATE_UNREADABLE


def test_no_permission(state: Path) -> None:
    """As nobody, whom permissions bind."""
    Store(state).save(GOOD)
    state.chmod(0o755)
    if os.geteuid() == 0:
        for parent in list(state.parents)[:4]:
            parent.chmod(parent.stat().st_mode | 0o011)

    def attempt() -> bool:
        if os.geteuid() == 0:
            os.setuid(65534)
        else:
            state.chmod(0o555)
        reasons = []
        for action in (Store(state).load, lambda: Store(state).save(NEXT)):
            try:
                action()
            except FeedFault as fault:
                reasons.append(fault.reason)
        return reasons in (
            [
                Reason.STATE_UNREADABLE,
                Reason.STATE_UNREADABLE,
            ],  # as another user
            [Reason.STATE_UNWRITABLE],  # as its owner
        )

    status = in_child(attempt)
    state.chmod(0o755)
    assert status == 0
    assert Store(state).load() == GOOD


def test_link_in_its_place_is_not_followed(state: Path, tmp_path: Path) -> None:
    state.mkdir()
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (state / "last-good.json").symlink_to(target)
    (state / ".new-last-good.json").symlink_to(target)
    with pytest.raises(FeedFault) as caught:
        Store(state).load()
    assert caught.value.reason == Reason.STATE_CORRUPTED
    Store(state).save(GOOD)
    assert Store(state).load() == GOOD
    assert target.read_bytes() == b"precious"


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))


STRANGERS: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a link to what has no end": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a socket": _socket,
    "a device without end": lambda path: os.mknod(
        path, stat.S_IFCHR | 0o644, os.makedev(1, 5)
    ),
    "a device that is not there": lambda path: os.mknod(
        path, stat.S_IFCHR | 0o644, os.makedev(5, 0)
    ),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes devices")
@pytest.mark.parametrize("put", STRANGERS.values(), ids=list(STRANGERS))
@pytest.mark.parametrize("name", ["last-good.json", "registry-", "memory-"])
def test_what_is_no_file_is_damage_and_mended(
    state: Path, put: Callable[[Path], object], name: str
) -> None:
    Store(state).save(GOOD)
    (place,) = [path for path in state.iterdir() if path.name.startswith(name)]
    place.unlink()
    put(place)
    begin = time.process_time()
    with pytest.raises(FeedFault) as caught:
        Store(state).load()
    assert caught.value.reason == Reason.STATE_CORRUPTED
    assert len(caught.value.lines) == 1
    Store(state).set_aside()
    Store(state).save(GOOD)
    assert Store(state).load() == GOOD
    assert time.process_time() - begin < 5  # nobody has read the devices to their end


def test_other_files_stay(state: Path) -> None:
    state.mkdir()
    (state / "notes.txt").write_bytes(b"mine")
    (state / ".new-memory-0").write_bytes(b"left by a crash")
    (state / "registry-0").write_bytes(b"left by a crash")
    Store(state).save(GOOD)
    assert (state / "notes.txt").exists()
    assert len(contents(state)) == 4


def test_failing_sync_is_reported(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes the bytes and then fails to keep them (EIO at fsync)."""
    Store(state).save(GOOD)
    before = contents(state)

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(FeedFault, match="Input/output error"):
            Store(state).save(NEXT)
    assert contents(state) == before


def test_sync_that_fails_after_the_moment_that_counts(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the new one stands, whole: its files must not be swept away."""
    Store(state).save(GOOD)
    real = os.fsync
    calls = iter(range(100))

    def fail(descriptor: int) -> None:
        if next(calls) == 5:  # two files and the manifest, each with its folder
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(FeedFault):
            Store(state).save(NEXT)
    assert Store(state).load() == NEXT


def test_held_by_another(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statefolder, "_LOCK_PATIENCE", 0.1)
    Store(state).save(GOOD)
    folder = os.open(state, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_SH)
    assert Store(state).load() == GOOD  # readers do not shut each other out
    with pytest.raises(FeedFault, match="held it locked") as caught:
        Store(state).save(NEXT)
    assert caught.value.reason == Reason.STATE_UNWRITABLE
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(FeedFault) as caught:
        Store(state).load()
    assert caught.value.reason == Reason.STATE_UNREADABLE
    os.close(folder)
    Store(state).save(NEXT)


def test_killed_while_saving(state: Path) -> None:
    """SIGKILL at any moment: what is loaded is always one that was saved, whole."""
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    versions = [
        LastGood(bytes([n]) * 300_000, None, Validators(str(n)), bytes([n]) * 1000)
        for n in range(4)
    ]
    store = Store(state)
    store.save(versions[0])
    for _ in range(25):
        child = os.fork()
        if child == 0:  # pragma: no cover
            while True:
                for version in versions:
                    store.save(version)
        time.sleep(moments.uniform(0.001, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert store.load() in versions, f"seed {seed}"
    store.save(versions[1])
    assert len(contents(state)) == 3
