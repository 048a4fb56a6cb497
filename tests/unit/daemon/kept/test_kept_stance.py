# SPDX-License-Identifier: GPL-2.0-or-later
"""The stance on disk: private, whole or not at all, and no permission if damaged."""

import asyncio
import gc
import logging
import stat
import threading
from pathlib import Path

import pytest

from vpngate.config import Mode
from vpngate.daemon.kept.kept_stance import NAME, KeptStance
from vpngate.errors import FeedFault
from vpngate.feed.state.statefolder import StateFolder
from vpngate.stance import (
    Cause,
    Configured,
    Enforce,
    Stance,
    first_stance,
    next_stance,
)
from vpngate.timekeeping.clock import Reading

AT = Reading(1_800_000_000.0, 100.0, "boot")
LATER = Reading(AT.wall + 61, AT.uptime + 61, "boot")
REBOOTED = Reading(AT.wall + 30, 5.0, "another boot")
OBSERVE = Configured(Mode.OBSERVE, 100)
ENFORCE = Configured(Mode.ENFORCE, 100)


def enforced(event: Enforce) -> Stance:
    stance = next_stance(first_stance(*OBSERVE, AT.wall), event, AT)
    assert isinstance(stance, Stance)
    return stance


UNCONFIRMED = enforced(Enforce(5, None, 60.0))


def keep(folder: Path, stance: Stance) -> KeptStance:
    kept = KeptStance(folder)
    asyncio.run(kept.keep(stance))
    return kept


def begin(
    folder: Path, said: Configured = OBSERVE, at: Reading = AT, suspend: str = ""
) -> Stance:
    return KeptStance(folder).begin(said, suspend, at)


def test_a_first_start_does_what_the_file_says(tmp_path: Path) -> None:
    for said in (OBSERVE, ENFORCE):
        assert begin(tmp_path / "none", said) == first_stance(*said, AT.wall)
    assert not (tmp_path / "none").exists()


def test_what_is_kept_goes_on_and_is_for_nobody_elses_eyes(tmp_path: Path) -> None:
    kept = keep(tmp_path / "state", UNCONFIRMED)
    assert kept.has(UNCONFIRMED)
    path = tmp_path / "state" / NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == [NAME]
    assert begin(tmp_path / "state") == UNCONFIRMED


@pytest.mark.parametrize(
    ("at", "why"), [(LATER, Cause.UNCONFIRMED), (REBOOTED, Cause.REBOOTED)]
)
def test_a_time_that_is_over_while_no_daemon_runs_is_over(
    tmp_path: Path, at: Reading, why: Cause
) -> None:
    keep(tmp_path, UNCONFIRMED)
    stance = begin(tmp_path, at=at)
    assert (stance.mode, stance.why.cause) == (Mode.OBSERVE, why)


def test_the_file_acts_again_only_where_its_text_is_another(tmp_path: Path) -> None:
    keep(tmp_path, enforced(Enforce(5)))
    assert begin(tmp_path, OBSERVE).share == 5
    assert begin(tmp_path, ENFORCE) == first_stance(*ENFORCE, AT.wall)
    assert not begin(tmp_path, Configured(Mode.OBSERVE, 1)).enforcing


def test_a_registry_that_suspends_does_so_from_the_start(tmp_path: Path) -> None:
    keep(tmp_path, enforced(Enforce(5)))
    for said in (OBSERVE, ENFORCE):
        stance = begin(tmp_path, said, suspend="a court")
        assert (stance.mode, stance.why.cause) == (Mode.OBSERVE, Cause.SUSPENDED)
        assert stance.configured == said


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"[" * 100_000, None])
def test_what_cannot_be_read_allows_nothing_whatever_the_file_says(
    tmp_path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    # Else what other tests left may be cleared away deep in a recursion, and fail.
    gc.collect()
    keep(tmp_path, enforced(Enforce(5)))
    path = tmp_path / NAME
    if content is None:
        path.unlink()
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes(content)
    stance = begin(tmp_path, ENFORCE)
    assert (stance.mode, stance.why.cause) == (Mode.OBSERVE, Cause.UNREADABLE)
    assert stance.configured == ENFORCE
    (line,) = [each for each in caplog.messages if NAME in each]
    assert "observing" in line
    # The next start finds what this one keeps, and asks no file again.
    keep(tmp_path, stance)
    assert not begin(tmp_path, ENFORCE).enforcing


def test_where_it_cannot_be_kept_what_was_there_stays(tmp_path: Path) -> None:
    kept = keep(tmp_path, UNCONFIRMED)
    (tmp_path / f".next-{NAME}").mkdir()
    with pytest.raises(FeedFault, match="the stance cannot be kept"):
        asyncio.run(kept.keep(enforced(Enforce(100))))
    assert kept.has(UNCONFIRMED)
    assert begin(tmp_path) == UNCONFIRMED


def test_it_waits_for_no_registry_that_is_being_written(tmp_path: Path) -> None:
    """Nor does the sweep behind one take it away half written."""
    with StateFolder.writing(tmp_path) as registry:
        done = threading.Thread(target=keep, args=(tmp_path, UNCONFIRMED))
        done.start()
        done.join(60)
        assert not done.is_alive()
        (tmp_path / f".next-{NAME}").write_text("half")
        registry.sweep((), ("registry-", "memory-"))
        assert (tmp_path / f".next-{NAME}").exists()
    assert begin(tmp_path) == UNCONFIRMED


def test_nothing_is_told_of_what_is_well(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        keep(tmp_path, UNCONFIRMED)
        begin(tmp_path)
    assert caplog.messages == []
