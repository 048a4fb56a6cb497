# SPDX-License-Identifier: GPL-2.0-or-later
"""The last good registry on a disk that is full, damaged, or not there at all."""

import errno
import fcntl
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.signing import Signer
from vpngate.errors import FeedFault
from vpngate.feed import LastGood, PublicKey, Reason, Store, Validators, statefolder
from vpngate.feed.answer import Condition

GOOD = LastGood(
    data=b"prefix,registration\n192.0.2.0/24,R-1\n",
    signature=None,
    validators=Validators(
        "https://registry.example/r.csv",
        "00" * 32,
        "",
        0,
        Condition('"é\\"', "Tue, 14 Nov 2023 22:13:20 GMT"),
    ),
    memory=b'{"clock": 1700000000}',
)
NEXT = LastGood(b"prefix,registration\n", None, Validators(), b"{}")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


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


def test_round_trip(state: Path, signer: Signer) -> None:
    store = Store(state)
    assert store.load() is None
    store.save(GOOD)
    assert store.load() == GOOD
    signed = LastGood(GOOD.data, signer.sign(GOOD.data), GOOD.validators, b"")
    store.save(signed)
    assert Store(state, PublicKey.parse(signer.public)).load() == signed
    assert store.load() == signed
    again = LastGood(GOOD.data, signer.sign(GOOD.data, "anew"), GOOD.validators, b"")
    store.save(again)
    assert store.load() == again
    assert len(contents(state)) == 4  # nothing is left of the former ones


def test_modes(state: Path) -> None:
    """Readable for the group, whatever the umask; closed to others."""
    before = os.umask(0o077)
    try:
        Store(state).save(GOOD)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in state.iterdir()} == {0o640}
    before = os.umask(0)
    try:
        Store(state / "inner" / "folder").save(GOOD)
    finally:
        os.umask(before)
    assert (state / "inner" / "folder").stat().st_mode & 0o777 == 0o750


def test_memory_alone(state: Path) -> None:
    store = Store(state)
    with pytest.raises(FeedFault, match="no last good registry"):
        store.remember(b"clock")
    store.save(GOOD)
    registry = next(state.glob("registry-*"))
    written = registry.stat().st_mtime_ns
    store.remember(b"clock")
    moved = Validators("mirror", GOOD.validators.digest)
    store.remember(b"later", moved)
    assert store.load() == LastGood(GOOD.data, None, moved, b"later")
    assert registry.stat().st_mtime_ns == written
    assert len(contents(state)) == 3


def test_unchanged_registry_is_not_written_again(state: Path) -> None:
    Store(state).save(GOOD)
    registry = next(state.glob("registry-*"))
    inode = registry.stat().st_ino
    Store(state).save(GOOD)
    assert registry.stat().st_ino == inode
    registry.write_bytes(bytes(len(GOOD.data)))  # damaged meanwhile
    Store(state).save(GOOD)
    assert Store(state).load() == GOOD


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("name", ["last-good.json", "registry-*", "memory-*"])
@pytest.mark.parametrize("damage", [flip, shorten, lengthen, empty, Path.unlink])
def test_corrupted(state: Path, name: str, damage: Callable[[Path], None]) -> None:
    """Detected, reported in one line, ignored; and the next save mends it."""
    if (name, damage) == ("last-good.json", Path.unlink):
        pytest.skip("no manifest is no registry, not a damaged one")
    store = Store(state)
    store.save(GOOD)
    (victim,) = state.glob(name)
    damage(victim)

    with pytest.raises(FeedFault) as caught:
        store.load()

    assert caught.value.reason == Reason.STATE_CORRUPTED
    assert len(caught.value.lines) == 1
    assert caught.value.lines[0].startswith(str(victim))
    if not name.startswith("memory"):
        with pytest.raises(FeedFault, match=victim.name):
            store.remember(b"clock")
    store.save(NEXT)
    assert store.load() == NEXT
    assert len(contents(state)) == 3


@pytest.mark.parametrize(
    "content",
    [
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"sha256": 1}',
        b'{"format": 1}' + b" " * 2**20,
    ],
    ids=lambda content: repr(content[:12]),
)
def test_nonsense_manifest(state: Path, content: bytes) -> None:
    state.mkdir()
    (state / "last-good.json").write_bytes(content)
    with pytest.raises(FeedFault) as caught:
        Store(state).load()
    assert caught.value.reason == Reason.STATE_CORRUPTED
    assert len(str(caught.value)) < 500
    with pytest.raises(FeedFault):
        Store(state).remember(b"clock")


def test_manifest_of_another_format(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("vpngate.feed.manifest._FORMAT", 2)
        Store(state).save(GOOD)
    with pytest.raises(FeedFault, match="its format is 2, not 1"):
        Store(state).load()


def test_kept_signature_counts(state: Path, signer: Signer) -> None:
    """Who can write the state cannot slip in a registry of his own."""
    key = PublicKey.parse(signer.public)
    Store(state).save(GOOD)
    with pytest.raises(FeedFault) as caught:
        Store(state, key).load()
    assert caught.value.reason == Reason.SIGNATURE_MISSING
    forged = LastGood(GOOD.data, signer.sign(NEXT.data), GOOD.validators)
    Store(state).save(forged)
    with pytest.raises(FeedFault) as caught:
        Store(state, key).load()
    assert caught.value.reason == Reason.SIGNATURE_WRONG
    Store(state).save(LastGood(GOOD.data, Signer().sign(GOOD.data), GOOD.validators))
    with pytest.raises(FeedFault) as caught:
        Store(state, key).load()
    assert caught.value.reason == Reason.SIGNATURE_KEY


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
            [Reason.STATE_UNREADABLE, Reason.STATE_UNREADABLE],  # as another user
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
    assert caught.value.reason == Reason.STATE_UNREADABLE
    Store(state).save(GOOD)
    assert Store(state).load() == GOOD
    assert target.read_bytes() == b"precious"


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
