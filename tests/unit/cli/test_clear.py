# SPDX-License-Identifier: GPL-2.0-or-later
"""clear: which table it is about, and what a configuration may be wrong in.

What it removes stands in tests/netns/test_clear.py.
"""

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run
from vpngate.errors import Problem, TableTaken
from vpngate.kernel import clearing
from vpngate.kernel.clearing import Cleared

GOOD = '[gateway]\ninterfaces = ["lan0"]\ntable = "mine"\n'


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tables that were to be cleared; nothing is done to a kernel."""
    tables: list[str] = []

    def clear(table: str) -> Cleared:
        tables.append(table)
        if table == "taken":
            raise TableTaken(Problem("table taken", "a process owns it", "stop it"))
        foreign = (Problem("interface ifb-other.1", "is no ifb", "rename it"),)
        return Cleared(("interface ifb-x",), foreign if table == "other" else ())

    monkeypatch.setattr(clearing, "clear", clear)
    return tables


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "vpngate.toml"


WRONG = [
    "",
    '[registry]\nsources = 5\n[colour]\nof = "it"\n',
    'mode = "perhaps"\n',
    "interfaces = 7\n",
    "[[registry]]\n",
]


@pytest.mark.parametrize("wrong", WRONG)
def test_only_the_table_matters(
    run: Run, asked: list[str], config: Path, wrong: str
) -> None:
    config.write_text(f'[gateway]\ntable = "mine"\n{wrong}')
    assert run("clear", "--config", config) == (0, "removed  interface ifb-x\n", [])
    assert asked == ["mine"]


@pytest.mark.parametrize("text", ["", "[capture]\n", "[gateway]\ninterfaces = 7\n"])
def test_where_none_is_named_it_is_the_default(
    run: Run, asked: list[str], config: Path, text: str
) -> None:
    config.write_text(text)
    assert run("clear", "--config", config) == (0, "removed  interface ifb-x\n", [])
    assert asked == ["vpngate"]


@pytest.mark.parametrize(
    "text",
    [
        "[gateway",
        GOOD.replace('"mine"', "5"),
        GOOD.replace("mine", "no table"),
        "gateway = 5\n",
        f"x = {'[' * 5000}",
        f"x = 1{'0' * 5000}",
    ],
)
def test_a_configuration_that_does_not_tell_is_refused(
    run: Run, asked: list[str], config: Path, text: str
) -> None:
    """Another table than the operator's would be cleared, and all said to be well."""
    config.write_text(text)
    status, out, err = run("clear", "--config", config)
    assert (status, out, asked) == (1, "", [])
    assert len(err) == 1
    assert "does not tell which nftables table" in err[0]


def test_none_at_all_is_another_status(run: Run, config: Path) -> None:
    status, _, err = run("clear", "--config", config)
    assert (status, len(err)) == (2, 1)


def test_what_is_not_ours_is_named(run: Run, asked: list[str], config: Path) -> None:
    config.write_text(GOOD.replace("mine", "other"))
    status, out, err = run("clear", "--config", config)
    assert (status, out) == (1, "removed  interface ifb-x\n")
    assert err == ["interface ifb-other.1: is no ifb; rename it; left alone"]
    assert asked == ["other"]


def test_while_one_runs_it_is_refused(run: Run, asked: list[str], config: Path) -> None:
    config.write_text(GOOD.replace("mine", "taken"))
    status, out, err = run("clear", "--config", config)
    assert (status, out) == (1, "")
    assert err == ["table taken: a process owns it; stop it"]
    assert asked == ["taken"]
