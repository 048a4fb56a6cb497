# SPDX-License-Identifier: GPL-2.0-or-later
"""One pin is moved, and nothing else; what is newer is told."""

from pathlib import Path

import pytest

from release import hashes, repin
from release.behind import behind
from release.pins import pins
from release.repin import objections

CONSTRAINTS = """\
h11==0.16.0
prometheus_client==0.26.0
pydantic==2.14.3
pydantic_core==2.50.4
urllib3==2.8.0
"""
PAGE = """\
# What vpngate runs with.
h11==0.16.0 \\
    --hash=sha256:aa
prometheus-client==0.26.0 \\
    --hash=sha256:bb \\
    --hash=sha256:cc
urllib3==2.8.0 \\
    --hash=sha256:dd
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `make hashes` writes, of which the index has changed nothing by itself."""
    folder = tmp_path / "requirements"
    folder.mkdir()
    (tmp_path / "constraints.txt").write_text(CONSTRAINTS)
    (folder / "run.txt").write_text(PAGE)
    monkeypatch.setattr(hashes, "FOLDER", folder)
    monkeypatch.setattr(repin, "CONSTRAINTS", tmp_path / "constraints.txt")
    return folder / "run.txt"


def run(monkeypatch: pytest.MonkeyPatch, page: Path, pin: str, written: str) -> None:
    monkeypatch.setattr(hashes, "main", lambda: page.write_text(written))
    monkeypatch.setattr("sys.argv", ["repin", pin])
    repin.main()


def test_one_pin_is_moved(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = PAGE.replace("0.26.0", "0.26.1").replace("bb", "ee")
    run(monkeypatch, page, "prometheus-client==0.26.1", later)
    assert page.read_text() == later
    assert (page.parents[1] / "constraints.txt").read_text() == CONSTRAINTS.replace(
        "0.26.0", "0.26.1"
    )


def test_what_would_move_with_it_is_told_and_all_is_as_before(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = PAGE.replace("2.8.0", "2.8.1").replace("aa", "ff")
    with pytest.raises(SystemExit, match=r"too: h11$"):
        run(monkeypatch, page, "urllib3==2.8.1", more)
    assert (page.read_text(), (page.parents[1] / "constraints.txt").read_text()) == (
        PAGE,
        CONSTRAINTS,
    )


@pytest.mark.parametrize(
    ("pin", "why"),
    [
        ("urllib3==3.0.0", r"pyproject.toml \(run\) requires urllib3<3,>=2.8"),
        ("pydantic_core==2.50.5", r"pydantic requires pydantic-core==2"),
        ("pydantic==2.14.4", r"pydantic and pydantic-core go together"),
    ],
)
def test_what_somebody_does_not_take_is_refused_before_the_index_is_asked(
    page: Path, monkeypatch: pytest.MonkeyPatch, pin: str, why: str
) -> None:
    with pytest.raises(SystemExit, match=why):
        run(monkeypatch, page, pin, "asked")
    assert page.read_text() == PAGE
    assert (page.parents[1] / "constraints.txt").read_text() == CONSTRAINTS


def test_nobody_objects_to_what_is_pinned() -> None:
    against = {name for name, at in pins().items() if [*objections(f"{name}=={at}")]}
    assert against == {"pydantic"}


@pytest.mark.parametrize("pin", ["urllib3", "elsewhere==1", "urllib3=2"])
def test_what_is_no_pin(page: Path, monkeypatch: pytest.MonkeyPatch, pin: str) -> None:
    with pytest.raises(SystemExit, match=r"constraints\.txt"):
        run(monkeypatch, page, pin, PAGE)
    assert page.read_text() == PAGE


def test_what_is_behind_is_told() -> None:
    pinned = {"a": "1.9", "b": "2.0", "c": "3"}
    assert [*behind(pinned, {"a": "1.10", "b": "2.0", "d": "1"})] == [
        "a 1.9 -> 1.10",
        "d 1 would be needed, too",
    ]
