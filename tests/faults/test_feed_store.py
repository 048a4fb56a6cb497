# SPDX-License-Identifier: GPL-2.0-or-later
"""The last good registry: kept, replaced, damaged, forged."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.last_good import GOOD, NEXT, contents
from tests.faults.signing import Signer
from vpngate.errors import FeedFault
from vpngate.feed import LastGood, PublicKey, Reason, Store, Validators


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


def test_what_is_staged_takes_nothings_place(state: Path) -> None:
    store = Store(state)
    store.stage(NEXT)
    assert store.load() is None
    store.save(GOOD)
    store.stage(NEXT)
    assert store.load() == GOOD
    assert len(contents(state)) == 5
    store.remember(GOOD.memory)
    assert len(contents(state)) == 3  # never saved, and swept away
    store.stage(NEXT)
    store.save(NEXT)
    assert store.load() == NEXT
    assert len(contents(state)) == 3


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
        patch.setattr("vpngate.feed.state.manifest._FORMAT", 2)
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
