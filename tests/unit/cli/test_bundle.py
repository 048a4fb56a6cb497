# SPDX-License-Identifier: GPL-2.0-or-later
"""bundle: what is in it, and that no secret and no address is."""

import itertools
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.house import ROOT
from tests.unit.cli.answering import serving
from tests.unit.cli.conftest import Run
from vpngate.cli.printing.redaction import Redaction, instead_of
from vpngate.config import examine_config, own_words
from vpngate.tunnels import all_tunnels

TUNNELS = [tunnel.name for tunnel in all_tunnels()]
# What may not be found: in every text that a configuration can hold.
SECRET = re.compile(r"hunter2", re.IGNORECASE)
ADDRESS = re.compile(r"203\.0\.113|2001:0?db8|cb0071|198\.51\.100", re.IGNORECASE)


def every_key() -> str:
    """A sound configuration: a secret or an address in each key that can have one."""
    return """
[gateway]
interfaces = ["hunter2lan", "203.0.113.7", "hunter2*"]
mode = "enforce"
share_key = "/srv/hunter2/203.0.113.8/share.key"
table = "hunter2table"
[registry]
sources = [
    "https://hunter2.example.net:8443/hunter2path/r.json?token=hunter2token",
    "https://203.0.113.9/registry.csv?key=Hunter2",
    "/srv/hunter2folder/203.0.113.10.csv",
]
public_key = ""
allow_unsigned = true
sentinels = ["203.0.113.0/24", "2001:db8:1::/48"]
state = "/srv/hunter2state"
[protect]
prefixes = ["198.51.100.0/24", "2001:db8:2::/48"]
[http]
listen = "203.0.113.11:9753"
metrics_listen = "[2001:db8::9]:9754"
names = ["hunter2-gateway.example.net"]
registration_url = "https://hunter2.example.org/register"
contact = "Hunter2, hunter2@example.net, or 203.0.113.12"
trusted_proxies = ["203.0.113.128/25"]
"""


def test_the_configuration_above_has_every_key_that_takes_a_text() -> None:
    """One that is added to the shipped file has to be thought of here."""
    shipped = tomllib.loads((ROOT / "config" / "vpngate.toml").read_text())
    own = {*own_words(), *TUNNELS}

    def takes_text(value: object) -> bool:
        match value:
            case list():
                return not value or any(map(takes_text, value))
            case str():
                return value not in own and not re.fullmatch(r"\d+[a-z%]+", value)
        return False

    wanted = {
        (name, key)
        for name, section in shipped.items()
        for key, value in section.items()
        if takes_text(value)
    }
    given = tomllib.loads(every_key())
    assert len(wanted) > 10
    assert wanted <= {(name, key) for name in given for key in given[name]}


def leaves(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for each in value:
                yield from leaves(each)
        case Mapping():
            for each in value.values():
                yield from leaves(each)


@pytest.fixture
def talkative(tmp_path: Path) -> Iterator[Path]:
    """A daemon that says all that it has read, in every way that a message may."""
    folder = tmp_path / "hunter2run"
    folder.mkdir()
    texts = list(leaves(tomllib.loads(every_key())))
    state: dict[str, Any] = {
        "healthy": False,
        "reasons": [f"{text}: is not as it should be" for text in texts],
        "interfaces": {text: f"'{text}' ({text})" for text in texts},
        "moved": "10:00:00 from 203.0.113.77 and 2001:db8::77 by 02:00:cb:00:71:07",
        "mapped": "::ffff:203.0.113.78, dead203.0.113.79, x203.0.113.80/32",
        "cut": [text[:45] + "..." for text in texts if len(text) > 45],
    }

    async def status(_arguments: Mapping[str, Any]) -> dict[str, Any]:
        return state

    async def counters(_arguments: Mapping[str, Any]) -> str:
        return '# HELP x\nvpngate_build_info{version="0.1.0"} 1.0\n'

    handlers = {"status": status, "counters": counters}
    yield from serving(folder / "control.sock", handlers)


def bundle(run: Run, config: Path, socket: Path, *more: object) -> tuple[int, str]:
    status, out, err = run("bundle", "--config", config, "--socket", socket, *more)
    assert not SECRET.search("".join(err)) or more
    return status, out


def test_nothing_secret_is_in_it(run: Run, tmp_path: Path, talkative: Path) -> None:
    config = tmp_path / "hunter2.toml"
    config.write_text(every_key())
    status, out = bundle(run, config, talkative)
    assert status == 0
    assert SECRET.findall(out) == []
    assert ADDRESS.findall(out) == []
    assert re.findall(r"^== (\w+)", out, re.MULTILINE) == [
        *("versions", "doctor", "status", "counters", "configuration")
    ]
    # It is of use all the same.
    for said in (
        "vpngate 0.1.0",
        "scapy 2.",
        "gateway.mode = enforce",
        "registry.sources = (3 given)",
        "http.contact = (given)",
        "throttle.rate = 5000000",
        "registry.state = (given)",
        "<registry.state>: is not as it should be",
        'vpngate_build_info{version="0.1.0"} 1.0',
    ):
        assert said in out
    assert "none: " not in out


@pytest.mark.parametrize("text", ["[gateway", 'hunter2 = "x"', 'a = "hunter2"', "\xff"])
def test_of_a_configuration_that_is_none(
    run: Run, tmp_path: Path, talkative: Path, text: str
) -> None:
    config = tmp_path / "hunter2.toml"
    config.write_bytes(text.encode("latin-1"))
    status, out = bundle(run, config, talkative)
    assert (status, SECRET.findall(out), ADDRESS.findall(out)) == (0, [], [])


def test_of_wrong_values_nothing_is_quoted() -> None:
    """In each key: what is wrong with it is told without it."""
    shipped = tomllib.loads((ROOT / "config" / "vpngate.toml").read_text())
    for name, section in shipped.items():
        for key in section:
            page = {name: {key: "hunter2 203.0.113.7"}}
            text = f'[{name}]\n{key} = "hunter2 203.0.113.7"\n'
            told = Redaction(instead_of(page, TUNNELS))
            examined = examine_config(text, where="f", known_tunnels=TUNNELS)
            for problem in examined.problems:
                line = told(str(problem))
                assert not SECRET.search(line), line
                assert not ADDRESS.search(line), line


def test_without_configuration_or_daemon(run: Run, tmp_path: Path) -> None:
    status, out = bundle(run, tmp_path / "none.toml", tmp_path / "none.sock")
    assert status == 0
    assert "none: <configuration>: cannot be read: No such file or directory" in out
    assert "none: <control socket>: no daemon answers" in out


def test_a_file_is_made_and_none_is_overwritten(
    run: Run, tmp_path: Path, config: Path
) -> None:
    path, socket = tmp_path / "bundle.txt", tmp_path / "none.sock"
    command = ("bundle", "--config", config, "--socket", socket, "-o", path)
    assert run(*command) == (0, "", [])
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_text()
    assert "== configuration" in before
    there = (2, "", [f"{path}: is there already; choose another name"])
    assert run(*command) == there
    assert path.read_text() == before
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    assert run(*command) == there
    assert not (tmp_path / "elsewhere").exists()
    status, out, err = run(*command[:-1], tmp_path / "no" / "folder")
    assert (status, out, len(err)) == (2, "", 1)


def test_a_file_that_cannot_be_written_whole_is_removed(
    run: Run, tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk: the descriptor is one of a device that is always full."""
    opened = os.open
    path = tmp_path / "bundle.txt"

    def full(where: str, *flags: int) -> int:
        if where != str(path):
            return opened(where, *flags)
        path.touch()
        return opened("/dev/full", os.O_WRONLY)

    monkeypatch.setattr(os, "open", full)
    command = ("bundle", "--config", config, "--socket", tmp_path / "none", "-o", path)
    status, out, err = run(*command)
    assert (status, out, len(err)) == (2, "", 1)
    assert not path.exists()


def test_an_address_has_one_letter_wherever_it_stands() -> None:
    told = Redaction({})
    assert told("a 203.0.113.7, b 203.0.113.8") == "a A, b B"
    assert told.everywhere({"203.0.113.8": ["2001:db8::1 203.0.113.7", 7]}) == {
        "B": ["C A", 7]
    }


def test_the_longest_goes_first_whatever_the_order() -> None:
    texts = {"/srv/a": "<1>", "/srv/a/b": "<2>", "/srv/a/b/c": "<3>"}
    for order in itertools.permutations(texts.items()):
        told = Redaction(dict(order))
        assert told("/srv/a/b/c /srv/a/b /srv/a") == "<3> <2> <1>"
