# SPDX-License-Identifier: GPL-2.0-or-later
"""Manual pages, completions and the pages of the configuration say what there is."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from release.manual import registry_page
from release.manual.__main__ import COMMITTED, INSTALLED, write
from release.manual.keys import OUTDATED, sections
from tests.house import ROOT
from tests.unit.release.shells import Shell, shell
from vpngate.cli import COMMANDS, main
from vpngate.config.descriptions import KEYS, SECTIONS
from vpngate.config.sections import Config
from vpngate.registry import Limits, load
from vpngate.registry.reading.envelope import ENVELOPE_KEYS
from vpngate.registry.reading.row_checks import RowFields

PAGES = [name for name in INSTALLED if "/man/" in name]
NOW = 1_790_000_000.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write(folder)
    return folder


@pytest.fixture(scope="module", params=["bash", "zsh"])
def typed_in(
    request: pytest.FixtureRequest, made: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shell]:
    if shutil.which(request.param) is None:
        pytest.skip(f"needs {request.param} (Debian package)")
    scratch = tmp_path_factory.mktemp(request.param)
    (scratch / "a capture.pcap").touch()
    with shell(request.param, made, scratch) as started:
        yield started


def flags(capsys: pytest.CaptureFixture[str], *words: str) -> set[str]:
    """The flags that the program itself names, in its own help."""
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    said = capsys.readouterr().out
    return set(re.findall(r"(?<![\w-])--[a-z-]+", said.partition("options:")[2]))


@pytest.mark.parametrize("name", COMMITTED)
def test_what_is_committed_is_current(name: str) -> None:
    assert (ROOT / name).read_text() == COMMITTED[name](), "make manual"


@pytest.mark.skipif(shutil.which("man") is None, reason="needs man-db (Debian package)")
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_read_without_warnings(made: Path, page: str) -> None:
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", made / page],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "80"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout
    assert done.stderr == ""


@pytest.mark.skipif(shutil.which("man") is None, reason="needs man-db (Debian package)")
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_found_by_its_name(made: Path, page: str) -> None:
    found = subprocess.run(
        ["lexgrog", made / page], capture_output=True, text=True, check=True
    ).stdout
    assert f'"{Path(page).stem} - ' in found


def rendered(path: Path) -> str:
    done = subprocess.run(
        ["man", "-E", "UTF-8", "-l", path],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "120"},
        capture_output=True,
        text=True,
        check=True,
    )
    return re.sub(r"\s+", " ", re.sub(".\b", "", done.stdout))


def test_the_page_tells_every_command_and_flag_as_its_help_does(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (made / "share/man/man1/vpngate.1").read_text().replace("\\-", "-")
    told = page.partition('.SH "EXIT STATUS"')[0].split('.SS "vpngate ')[1:]
    assert [each.split()[0] for each in told] == list(COMMANDS)
    for command, text in zip(COMMANDS, told, strict=True):
        named = set(re.findall(r"(?m)^\\fB(--[a-z-]+)", text))
        assert named == flags(capsys, command) - {"--help"}


@pytest.mark.skipif(shutil.which("man") is None, reason="needs man-db (Debian package)")
def test_what_is_typed_is_shown_as_it_is_typed(made: Path) -> None:
    text = rendered(made / "share/man/man5/vpngate-registry.5")
    for line in registry_page.CSV_EXAMPLE.splitlines():
        assert line in text
    assert '{"registry": "example", "serial": 42,' in text


def test_every_key_and_no_other_is_described() -> None:
    declared = {
        f"{section}.{key}"
        for section, field in Config.model_fields.items()
        for key in field.annotation.model_fields  # type: ignore[union-attr]
    }
    assert set(KEYS) == declared - OUTDATED
    assert list(SECTIONS) == list(Config.model_fields)


def test_the_bounds_that_are_told_are_those_that_hold() -> None:
    told = {
        f"{section.name}.{key.name}": key.kind
        for section in sections()
        for key in section.keys
    }
    assert told["gateway.enforce_share"] == "number from 0 to 100"
    assert told["gateway.deadman"] == "duration from `10s` to `10m`"
    assert told["throttle.rate"] == "rate from `512kbit` to `1000gbit`"
    assert told["capture.nflog_group"] == "number from 1 to 65,535"
    assert told["gateway.mode"] == "`observe` or `enforce`"
    assert told["registry.sources"].startswith("list of at least one, each: absolute")
    assert told["protect.prefixes"].startswith("list, each: prefix")
    assert told["throttle.subscriber_prefix"].endswith("`ipv6`, number from 1 to 128")


def test_every_field_of_a_registry_and_no_other_is_described() -> None:
    assert list(registry_page.ROW) == list(RowFields._fields)
    assert set(registry_page.ENVELOPE) == set(ENVELOPE_KEYS)


@pytest.mark.parametrize(
    "text", [registry_page.CSV_EXAMPLE, registry_page.JSON_EXAMPLE]
)
def test_the_examples_of_registries_are_registries(text: str) -> None:
    loaded = load(text.encode(), limits=Limits(), now=NOW)
    assert not loaded.problems


def test_tab_offers_every_command(typed_in: Shell) -> None:
    assert set(COMMANDS) <= typed_in.complete("vpngate ")
    assert typed_in.complete("vpngate enf") == {"enforce"}


@pytest.mark.parametrize("command", COMMANDS)
def test_tab_offers_every_flag(
    typed_in: Shell, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    offered = typed_in.complete(f"vpngate {command} --")
    assert {word for word in offered if word.startswith("--")} == flags(capsys, command)


def test_tab_offers_what_a_flag_may_be_given(typed_in: Shell) -> None:
    for line in ("vpngate status --format ", "vpngate status --format="):
        offered = typed_in.complete(line)
        assert {"table", "json"} <= offered
        assert "--socket" not in offered
    assert "a capture.pcap" in typed_in.complete("vpngate lookup --registry ")
    offered = typed_in.complete("vpngate enforce --for ")
    assert not {word for word in offered if word.startswith("-")}


def test_tab_offers_files_where_files_are_meant(typed_in: Shell) -> None:
    assert "a capture.pcap" in typed_in.complete("vpngate classify ")
    assert "a capture.pcap" not in typed_in.complete("vpngate status ")
