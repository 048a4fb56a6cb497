# SPDX-License-Identifier: GPL-2.0-or-later
"""Registries signed by the real minisign, and kept ones verified by it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.faults.asking import ask
from vpngate.errors import FeedFault
from vpngate.feed import (
    Feed,
    FeedSettings,
    Fetched,
    LastGood,
    NoSourceAnswered,
    PublicKey,
    Reason,
    Store,
)
from vpngate.feed.minisign import DetachedSignature, verify

pytestmark = pytest.mark.skipif(
    shutil.which("minisign") is None, reason="needs minisign (Debian package)"
)

GOOD = b"prefix,registration\n192.0.2.0/24,R-1\n"


def minisign(*arguments: str | Path) -> str:
    done = subprocess.run(
        ["minisign", *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with key.pub and key.sec, the latter without a password."""
    folder = tmp_path_factory.mktemp("keys")
    minisign("-G", "-W", "-p", folder / "key.pub", "-s", folder / "key.sec")
    return folder


@pytest.mark.parametrize("algorithm", ["prehashed", "legacy"])
@pytest.mark.parametrize("data", [b"", GOOD, bytes(100_000)], ids=len)
def test_accepts_what_minisign_signs(
    keys: Path, tmp_path: Path, algorithm: str, data: bytes
) -> None:
    path = tmp_path / "registry.csv"
    path.write_bytes(data)
    how = ["-l"] if algorithm == "legacy" else []
    comment = ["-t", "serial 42 für die Flotte"] if algorithm == "legacy" else []
    minisign("-S", *how, *comment, "-s", keys / "key.sec", "-m", path)
    text = (keys / "key.pub").read_text()
    signature = path.with_name("registry.csv.minisig").read_bytes()

    found = verify(data, signature, PublicKey.parse(text), "here")

    assert found.prehashed is (algorithm == "prehashed")
    assert found.key_id in text  # the id as minisign writes it in its comment
    if comment:
        assert found.trusted_comment == comment[1]
        assert found.timestamp is None
    else:
        assert found.timestamp is not None
        assert found.timestamp > 1_700_000_000
    with pytest.raises(FeedFault):
        verify(data + b"x", signature, PublicKey.parse(text), "here")


def test_key_as_file_and_as_line(keys: Path) -> None:
    text = (keys / "key.pub").read_text()
    assert PublicKey.parse(text) == PublicKey.parse(text.splitlines()[1])


def test_fetch_and_keep(keys: Path, tmp_path: Path) -> None:
    """From signing to disk and back, and minisign agrees with what is kept."""
    path = tmp_path / "registry.csv"
    path.write_bytes(GOOD)
    minisign("-S", "-s", keys / "key.sec", "-m", path)
    settings = FeedSettings.parse([str(path)], (keys / "key.pub").read_text())
    answer = ask(Feed(settings))
    assert isinstance(answer, Fetched)
    store = Store(tmp_path / "state", *settings.public_keys)
    store.save(LastGood(answer.data, answer.signature, answer.validators))
    kept = store.load()
    assert kept is not None
    assert kept.data == GOOD
    (registry,) = (
        file
        for file in (tmp_path / "state").glob("registry-*")
        if file.suffix != ".minisig"
    )
    assert "verified" in minisign("-V", "-p", keys / "key.pub", "-m", registry)


def test_signed_by_a_stranger(keys: Path, tmp_path: Path) -> None:
    path = tmp_path / "registry.csv"
    path.write_bytes(GOOD)
    minisign("-G", "-W", "-p", tmp_path / "other.pub", "-s", tmp_path / "other.sec")
    minisign("-S", "-s", tmp_path / "other.sec", "-m", path)
    settings = FeedSettings.parse([str(path)], (keys / "key.pub").read_text())
    with pytest.raises(NoSourceAnswered) as caught:
        ask(Feed(settings))
    assert caught.value.reason == Reason.SIGNATURE_KEY
    signature = path.with_name("registry.csv.minisig").read_bytes()
    assert DetachedSignature.parse(signature, "here").key_id in str(caught.value)
