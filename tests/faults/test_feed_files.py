# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything that can be wrong with a registry in a local file, one row each."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.asking import ask
from tests.faults.signing import Signer
from vpngate.errors import FeedFault
from vpngate.feed import (
    Feed,
    FeedSettings,
    Fetched,
    FetchLimits,
    NoSourceAnswered,
    NotModified,
    Reason,
)
from vpngate.feed.sources import localfile
from vpngate.feed.sources.localfile import read_file

GOOD = b"prefix,registration\n192.0.2.0/24,R-1\n"
LIMITS = FetchLimits(published=2**20, file_pause=0.01)
OLD = 1_700_000_000  # a modification time long gone: nothing to wait for


def write(path: Path, content: bytes = GOOD) -> None:
    path.write_bytes(content)
    os.utime(path, (OLD, OLD))


def folder(path: Path) -> None:
    path.mkdir()


def dangling(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_bytes(b"")


def circle(path: Path) -> None:
    path.symlink_to(path)


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 * 10**9)  # sparse: ten gigabytes that take no space
    os.utime(path, (OLD, OLD))


ROWS: dict[str, tuple[Callable[[Path], None], Reason, str]] = {
    "missing": (lambda _: None, Reason.FILE_MISSING, "no such file"),
    "dangling link": (dangling, Reason.FILE_MISSING, "no such file"),
    "below a file": (below_a_file, Reason.FILE_MISSING, "no such file"),
    "links in a circle": (circle, Reason.FILE_UNREADABLE, "Too many levels"),
    "a folder": (folder, Reason.FILE_UNREADABLE, "a folder"),
    "a pipe": (os.mkfifo, Reason.FILE_UNREADABLE, "not a regular file"),
    "10 GB": (huge, Reason.TOO_LARGE, "more than 1048576 bytes"),
}


@pytest.mark.parametrize(("stage", "reason", "words"), ROWS.values(), ids=list(ROWS))
def test_fault(
    tmp_path: Path, stage: Callable[[Path], None], reason: Reason, words: str
) -> None:
    path = tmp_path / "folder" / "registry.csv"
    path.parent.mkdir()
    stage(path)
    mirror = tmp_path / "mirror.csv"
    write(mirror)

    with pytest.raises(NoSourceAnswered, match=words) as caught:
        ask(Feed(FeedSettings.parse([str(path)], limits=LIMITS)))
    assert caught.value.reason == reason
    assert len(caught.value.lines) == 1
    assert caught.value.lines[0].startswith(str(path))

    answer = ask(Feed(FeedSettings.parse([str(path), str(mirror)], limits=LIMITS)))
    assert isinstance(answer, Fetched)
    assert answer.data == GOOD
    assert len(answer.faults) == 1


def test_no_permission(tmp_path: Path) -> None:
    """As nobody, whom permissions bind."""
    path = tmp_path / "registry.csv"
    write(path)
    path.chmod(0)
    if os.geteuid() == 0:
        tmp_path.chmod(0o755)
        for parent in list(tmp_path.parents)[:3]:
            parent.chmod(parent.stat().st_mode | 0o011)
    child = os.fork()
    if child == 0:  # pragma: no cover
        status = 1
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            read_file(path, 100)
        except FeedFault as fault:
            named = fault.reason == Reason.FILE_UNREADABLE
            status = 0 if named and "Permission denied" in str(fault) else 2
        finally:
            os._exit(status)
    _, result = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(result) == 0


@contextmanager
def meanwhile(action: Callable[[], None]) -> Iterator[None]:
    """Does something again and again while the test goes on."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            action()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_changed_while_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(localfile, "_QUIET_SECONDS", 1.0)  # the machine may be busy
    path = tmp_path / "registry.csv"
    write(path)
    begun = threading.Event()

    def append() -> None:
        with path.open("ab") as file:
            file.write(b"x")
        begun.set()

    with meanwhile(append):
        assert begun.wait(60)
        with pytest.raises(FeedFault) as caught:
            read_file(path, 2**30)
    assert caught.value.reason == Reason.FILE_CHANGING
    assert "rename it into place" in str(caught.value)


def test_half_written_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who copies into place writes in pieces; half a registry must not be taken."""
    monkeypatch.setattr(localfile, "_QUIET_SECONDS", 1.0)  # the machine may be busy
    path = tmp_path / "registry.csv"
    path.write_bytes(GOOD[:20])

    def rest() -> None:
        with path.open("ab") as file:
            file.write(GOOD[20:])

    timer = threading.Timer(0.05, rest)
    settings = FeedSettings.parse([str(path)], limits=LIMITS)
    timer.start()
    answer = ask(Feed(settings))
    timer.join()
    assert isinstance(answer, Fetched)
    assert answer.data == GOOD


def test_renamed_into_place_while_read(tmp_path: Path) -> None:
    """The right way to replace it: every read gets one version whole."""
    path = tmp_path / "registry.csv"
    versions = [bytes([65 + n]) * 2**18 for n in range(2)]
    write(path, versions[0])
    state = {"turn": 0}

    def replace() -> None:
        state["turn"] ^= 1
        new = tmp_path / "new"
        write(new, versions[state["turn"]])
        new.rename(path)

    with meanwhile(replace):
        for _ in range(200):
            assert read_file(path, 2**20) in versions


def test_vanishes_between_registry_and_signature(
    tmp_path: Path, signer: Signer
) -> None:
    path = tmp_path / "registry.csv"
    write(path)
    settings = FeedSettings.parse([str(path)], signer.public, limits=LIMITS)
    with pytest.raises(NoSourceAnswered, match="has no signature") as caught:
        ask(Feed(settings))
    assert caught.value.reason == Reason.SIGNATURE_MISSING

    path.with_name("registry.csv.minisig").mkdir()
    with pytest.raises(NoSourceAnswered, match="a folder"):
        ask(Feed(settings))


def test_signed_file(tmp_path: Path, signer: Signer) -> None:
    path = tmp_path / "registry.csv"
    path.write_bytes(GOOD)
    signature = path.with_name("registry.csv.minisig")
    signature.write_bytes(signer.sign(GOOD))
    client = Feed(FeedSettings.parse([str(path)], signer.public, limits=LIMITS))
    first = ask(client)
    assert isinstance(first, Fetched)
    assert first.signature == signer.sign(GOOD)
    assert isinstance(ask(client, first.validators), NotModified)

    path.write_bytes(GOOD + b"0.0.0.0/1,R-2\n")
    with pytest.raises(NoSourceAnswered) as caught:
        ask(client, first.validators)
    assert caught.value.reason == Reason.SIGNATURE_WRONG


def test_unsigned_file_is_compared_by_content(tmp_path: Path) -> None:
    path = tmp_path / "registry.csv"
    write(path)
    client = Feed(FeedSettings.parse([str(path)], limits=LIMITS))
    first = ask(client)
    assert isinstance(first, Fetched)
    os.utime(path, (OLD + 9, OLD + 9))
    assert isinstance(ask(client, first.validators), NotModified)
    write(path, GOOD.replace(b"R-1", b"R-2"))  # same size, same time
    assert isinstance(ask(client, first.validators), Fetched)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs /proc")
def test_read_error() -> None:
    """A disk that fails under the read: /proc/self/mem gives EIO at its start."""
    with pytest.raises(FeedFault, match="Input/output error") as caught:
        read_file(Path("/proc/self/mem"), 100)
    assert caught.value.reason == Reason.FILE_UNREADABLE
