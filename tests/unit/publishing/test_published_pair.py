# SPDX-License-Identifier: GPL-2.0-or-later
"""Two names that change at once: what they show, and what is left beside them."""

import fcntl
import os
import stat
from pathlib import Path

import pytest

from vpngate.errors import UnwritableOutput
from vpngate.publishing.published_pair import PublishedPair

NAME = "registry.json"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / NAME


def publish(path: Path, content: bytes, signature: bytes | None) -> None:
    with PublishedPair.locked(path, 0.0) as pair:
        pair.replace(content, signature)


def signature(path: Path) -> Path:
    return path.with_name(f"{path.name}.minisig")


def shown(path: Path) -> tuple[bytes | None, bytes | None]:
    content, signed = (
        each.read_bytes() if each.exists() else None for each in (path, signature(path))
    )
    return content, signed


def everything(path: Path) -> list[str]:
    folder = path.parent
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_both_are_replaced_and_readable_by_everybody(path: Path) -> None:
    before = os.umask(0o077)
    try:
        publish(path, b"1", b"s1")
        publish(path, b"2", b"s2")
    finally:
        os.umask(before)
    assert shown(path) == (b"2", b"s2")
    for each in path.parent.rglob("*"):
        mode = stat.S_IMODE(each.stat().st_mode)
        assert mode == (0o755 if each.is_dir() else 0o644)


def test_the_current_one_and_the_one_before_are_kept(path: Path) -> None:
    for number in range(1, 6):
        publish(path, b"%d" % number, b"s%d" % number)
    versions = path.parent / f".{NAME}.versions"
    kept = sorted(p.read_bytes() for p in versions.glob(f"*/{NAME}"))
    assert kept == [b"4", b"5", b"5"]  # once through `current`
    assert sorted(p.name for p in path.parent.iterdir()) == [
        f".{NAME}.versions",
        NAME,
        f"{NAME}.minisig",
    ]


def test_what_is_there_already_becomes_links(path: Path) -> None:
    path.write_bytes(b"by hand")
    signature(path).write_bytes(b"by hand, too")
    publish(path, b"1", b"s1")
    assert shown(path) == (b"1", b"s1")
    assert path.is_symlink()
    assert signature(path).is_symlink()


def test_a_folder_may_be_moved(path: Path) -> None:
    publish(path, b"1", b"s1")
    moved = path.parent.with_name("elsewhere")
    path.parent.rename(moved)
    assert shown(moved / NAME) == (b"1", b"s1")
    publish(moved / NAME, b"2", b"s2")
    assert shown(moved / NAME) == (b"2", b"s2")


def test_without_a_signature_it_is_a_file(path: Path) -> None:
    publish(path, b"1", None)
    publish(path, b"2", None)
    assert shown(path) == (b"2", None)
    assert everything(path) == [NAME]
    assert not path.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_signed_and_unsigned_take_turns(path: Path) -> None:
    publish(path, b"1", None)
    publish(path, b"2", b"s2")
    assert shown(path) == (b"2", b"s2")
    signature(path).unlink()
    publish(path, b"3", None)
    assert shown(path) == (b"3", None)
    assert everything(path) == [NAME]
    publish(path, b"4", b"s4")
    assert shown(path) == (b"4", b"s4")


@pytest.mark.parametrize("gone", ["current", "versions", "signature", "file"])
def test_what_somebody_removed_is_made_again(path: Path, gone: str) -> None:
    publish(path, b"1", b"s1")
    publish(path, b"2", b"s2")
    versions = path.parent / f".{NAME}.versions"
    match gone:
        case "current":
            (versions / "current").unlink()
        case "versions":
            versions.rename(path.parent.with_name("aside"))
        case "signature":
            signature(path).unlink()
        case "file":
            path.unlink()
    publish(path, b"3", b"s3")
    assert shown(path) == (b"3", b"s3")


def test_each_version_has_another_second(path: Path) -> None:
    """A server tells versions of one length apart by whole seconds alone."""
    seen = []
    for number in range(4):
        publish(path, b"%d" % number, b"s" if number else None)
        seen.append(int(path.stat().st_mtime))
    assert sorted(set(seen)) == seen


def test_what_a_killed_one_left_is_removed(path: Path) -> None:
    """By who replaces the file, and by nobody who only looks."""
    publish(path, b"1", b"s1")
    versions = path.parent / f".{NAME}.versions"
    (versions / "99").mkdir()
    (versions / "99" / NAME).write_bytes(b"half")
    (versions / "new").symlink_to("99")
    (path.parent / f".{NAME}.new").write_bytes(b"half")
    left = everything(path)
    with PublishedPair.locked(path, 0.0) as pair:
        assert everything(path) == left
        pair.replace(b"2", b"s2")
    assert shown(path) == (b"2", b"s2")
    gone = {f".{NAME}.new", f".{NAME}.versions/new", f".{NAME}.versions/99"}
    assert gone <= set(left)
    assert not gone & set(everything(path))


def test_names_that_are_taken(path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"somebody's")
    path.symlink_to(elsewhere)
    with pytest.raises(UnwritableOutput, match=r"is a link to .*elsewhere"):
        publish(path, b"1", b"s1")
    assert elsewhere.read_bytes() == b"somebody's"
    path.unlink()
    path.mkdir()
    with pytest.raises(UnwritableOutput, match="is not a regular file"):
        publish(path, b"1", b"s1")
    path.rmdir()
    os.mkfifo(signature(path))
    with pytest.raises(UnwritableOutput, match="is not a regular file"):
        publish(path, b"1", b"s1")
    with pytest.raises(UnwritableOutput, match="No such file"):
        publish(tmp_path / "nowhere" / NAME, b"1", b"s1")


def test_who_waits_too_long_is_told(path: Path) -> None:
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(UnwritableOutput, match="has its folder locked"):
            publish(path, b"1", b"s1")
    finally:
        os.close(descriptor)
    publish(path, b"1", b"s1")
    assert shown(path) == (b"1", b"s1")
