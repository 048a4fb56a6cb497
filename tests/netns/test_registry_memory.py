# SPDX-License-Identifier: GPL-2.0-or-later
"""The last good registry, sound and damaged, and fetches that nobody asked for.

A daemon starts with what it remembers if no source has anything better, and says so;
from a damaged memory nobody starts. While it runs it needs no memory, and mends it.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.misdeeds import ROWS
from tests.lab.feeding import HOLDERS, SENTINEL, Feeding, feeding, newcomer

_UNREAD = 2  # exit status

Stage = Callable[[Feeding, ExitStack], object]


def misdeed(name: str) -> Stage:
    return lambda fed, later: later.enter_context(fed.misbehaving(ROWS[name]))


def no_registration(fed: Feeding, _: ExitStack) -> None:
    fed.alter(lambda page: page.update(registrations=[]))


FAULTS = [
    pytest.param(misdeed("connection refused"), "unreachable", "refused", id="refused"),
    pytest.param(no_registration, "empty", "no registration", id="no registration"),
    pytest.param(misdeed("500"), "server_error", "answers 500", id="500"),
]


@pytest.fixture
def fed() -> Iterator[Feeding]:
    with feeding() as built:
        yield built


@pytest.fixture
def left(fed: Feeding) -> Feeding:
    """A daemon has run and left its last good registry behind."""
    with fed.running():
        assert fed.tree() == HOLDERS
    return fed


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES = [
    pytest.param(damage, name, id=f"{damage.__name__} {name}")
    for damage, name in (
        (empty, "last-good.json"),
        (flip, "registry-*[!g]"),
        (Path.unlink, "*.minisig"),
        (flip, "memory-*"),
    )
]


def damaged(fed: Feeding, damage: Callable[[Path], None], name: str) -> str:
    (path,) = fed.state.glob(name)
    damage(path)
    return str(path)


def assert_all_is_well(fed: Feeding) -> None:
    assert fed.told()["serial"] == fed.serial
    assert fed.told()["last_refusal"] is None
    assert fed.metric("last_load_successful") == 1
    assert fed.tree() == HOLDERS
    assert fed.spares(SENTINEL)
    assert fed.spares(newcomer(fed.serial))


def assert_told(fed: Feeding, reason: str, words: str) -> None:
    """In the log, the status and the metrics, under one reason."""
    output = fed.daemon.process.output()
    assert any(words in line for line in output.splitlines())
    assert "Traceback" not in output
    assert words in fed.told()["last_refusal"]
    assert set(fed.refusals()) == {reason}
    assert fed.metric("last_load_successful") == 0


@pytest.mark.parametrize(("stage", "reason", "words"), FAULTS[:2])
def test_start_with_what_is_remembered(
    left: Feeding, stage: Stage, reason: str, words: str
) -> None:
    with ExitStack() as later:
        stage(left, later)
        with left.running():
            assert left.status()["serial"] == left.serial
            assert left.tree() == HOLDERS
            assert left.spares(newcomer(left.serial))
            assert_told(left, reason, words)
            words = "starting with the last good registry"
            assert words in left.daemon.process.output()
            assert left.refusals() == {reason: 1.0}
            left.publish()
            assert left.reload().status == 0
            assert_all_is_well(left)


@pytest.mark.parametrize(("damage", "name"), DAMAGES)
def test_no_start_from_a_damaged_memory(
    left: Feeding, damage: Callable[[Path], None], name: str
) -> None:
    """With no source there is none; both reasons are told, and nothing is left."""
    victim = damaged(left, damage, name)
    with left.misbehaving(ROWS["connection refused"]):
        ending = left.start_in_vain()
    assert ending.status == _UNREAD
    damaged_line, source_line = ending.complaints
    assert victim in damaged_line
    assert "ignored" in damaged_line
    assert source_line.startswith("vpngate: https://localhost:")
    assert "refused" in source_line
    assert left.namespace.run("nft", "list", "tables") == ""
    left.publish()
    with left.running():
        # It was told by the first start, and set aside.
        assert victim not in left.daemon.process.output()
        assert_all_is_well(left)
    # Its start has mended what was damaged.
    with left.misbehaving(ROWS["connection refused"]), left.running():
        assert left.tree() == HOLDERS


@pytest.mark.parametrize(("damage", "name"), DAMAGES[:2])
def test_memory_damaged_while_the_daemon_runs(
    fed: Feeding, damage: Callable[[Path], None], name: str
) -> None:
    with fed.running():
        victim = damaged(fed, damage, name)
        before = fed.standing()
        assert fed.reload().status == 0
        assert victim in fed.daemon.process.output()
        after = fed.standing()
        assert (after.kernel, after.spared) == (before.kernel, before.spared)
        assert after.tree == HOLDERS
        assert fed.reload().status == 0
        assert_all_is_well(fed)
        assert fed.standing().spared == before.spared
    with fed.misbehaving(ROWS["connection refused"]), fed.running():
        assert fed.tree() == HOLDERS


@pytest.mark.parametrize(("stage", "reason", "words"), FAULTS[1:])
def test_fetch_that_nobody_asked_for(
    fed: Feeding, stage: Stage, reason: str, words: str
) -> None:
    """The same as a reload: nothing happens, and that is told, until all is well."""
    fed.settings.change(registry={"refresh": "1s"})
    with fed.running(), ExitStack() as later:
        before = fed.standing()
        stage(fed, later)
        fed.daemon.wait_until(lambda: fed.refusals() != {}, "a load refused")
        after = fed.standing()
        assert (after.kernel, after.spared) == (before.kernel, before.spared)
        assert (after.tree, after.status) == (before.tree, before.status)
        assert_told(fed, reason, words)
        words = "the registry in force stays"
        assert words in fed.daemon.process.output()
        fed.publish()
        fed.daemon.wait_until(
            lambda: fed.metric("serial") == fed.serial, "the next serial"
        )
        assert_all_is_well(fed)
