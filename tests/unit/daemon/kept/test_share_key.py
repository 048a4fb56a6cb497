# SPDX-License-Identifier: GPL-2.0-or-later
"""The key that chooses: made once, or a fleet's; never told; bad ones are one line."""

import logging
import os
import stat
from pathlib import Path

import pytest

from tests.unit.daemon.gatehouse import CONFIG, config
from vpngate.config import Config
from vpngate.daemon.kept.share_key import NAME, share_key
from vpngate.errors import InvalidConfig

SECRET = "a secret of a fleet of gateways"


def settings(state: Path, key: Path | None = None) -> Config:
    named = f'share_key = "{key}"\n' if key else ""
    return config(f'{CONFIG}{named}[registry]\nstate = "{state}"\n')


def given(path: Path, content: str = SECRET, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def test_it_is_made_once_for_the_daemon_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        key = share_key(settings(tmp_path / "state"))
        assert share_key(settings(tmp_path / "state")) == key
    path = tmp_path / "state" / NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == key
    assert len(key) == 32
    assert share_key(settings(tmp_path / "another")) != key
    assert caplog.messages == []


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)])
def test_one_that_is_damaged_is_made_again_and_told(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / NAME).write_bytes(content)
    key = share_key(settings(tmp_path))
    assert (tmp_path / NAME).read_bytes() == key
    assert len(caplog.messages) == 1


def test_where_none_can_be_kept_there_is_one_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_text("no folder")
    assert len(share_key(settings(tmp_path / "state"))) == 32
    assert len(caplog.messages) == 1


def test_a_fleet_with_one_key_is_one_whatever_blanks_an_editor_adds(
    tmp_path: Path,
) -> None:
    one = given(tmp_path / "one")
    other = given(tmp_path / "other", f"{SECRET}\n", 0o640)
    keys = {share_key(settings(tmp_path / n, n)) for n in (one, other)}
    assert len(keys) == 1
    assert SECRET.encode() not in keys
    another = given(tmp_path / "another", SECRET.upper())
    assert share_key(settings(tmp_path, another)) not in keys
    assert not (tmp_path / NAME).exists()


def missing(path: Path) -> None:
    del path


def loop(path: Path) -> None:
    path.symlink_to(path)


def too_short(path: Path) -> None:
    given(path, "0123456789abcde")


def too_long(path: Path) -> None:
    given(path, "k" * 5000)


def open_to_all(path: Path) -> None:
    given(path, mode=0o644)


@pytest.mark.parametrize(
    "make", [missing, Path.mkdir, os.mkfifo, loop, too_short, too_long, open_to_all]
)
def test_a_file_of_no_use_is_one_line_that_does_not_tell_it(
    tmp_path: Path, make: object
) -> None:
    path = tmp_path / "key"
    assert callable(make)
    make(path)
    with pytest.raises(InvalidConfig) as refused:
        share_key(settings(tmp_path, path))
    (line,) = refused.value.lines
    assert line.startswith(f"gateway.share_key: {path}")
    assert "0123456789" not in line
