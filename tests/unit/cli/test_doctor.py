# SPDX-License-Identifier: GPL-2.0-or-later
"""doctor: what it prints, and how it ends. What it finds depends on the machine."""

import json
from pathlib import Path

import pytest

from vpngate.cli import main

WEIGHTS = ["missing", "conflict", "costs", "unknown", "sound"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "vpngate.toml"
    path.write_text(
        f'[gateway]\ninterfaces = ["nowhere0"]\n[registry]\nstate = "{tmp_path}"\n'
    )
    return path


@pytest.mark.slow
def test_for_people_and_for_programs(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Behind a mirror port an interface that is not there is missing for good."""
    config.write_text(config.read_text() + '[capture]\nsource = "mirror"\n')
    socket = str(config.with_name("control.sock"))
    arguments = ["doctor", "--config", str(config), "--socket", socket]
    assert main(arguments) == 1, "there is no interface of that name"
    *lines, last = capsys.readouterr().out.splitlines()
    assert main([*arguments, "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert last.startswith("vpngate cannot do its whole job here (")
    assert found["able"] is False
    weights = [finding["weight"] for finding in found["findings"]]
    assert weights == [line.split()[0] for line in lines]
    assert weights == sorted(weights, key=WEIGHTS.index)
    (missing,) = (f for f in found["findings"] if f["where"] == "interface nowhere0")
    assert missing["weight"] == "missing"
    assert list(missing) == ["weight", "where", "what", "cost", "remedy"]
    assert sorted(path.name for path in config.parent.iterdir()) == ["vpngate.toml"]


@pytest.mark.slow
def test_a_configuration_with_mistakes_is_judged_by_what_is_sound(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(config.read_text() + '[throttle]\nrate = "5"\n')
    assert main(["doctor", "--config", str(config)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:2] == ["missing", str(config)] for line in lines)
    assert any("interface nowhere0" in line for line in lines)
    key = config.with_name("share-key")
    named = f'[gateway]\nshare_key = "{key}"\ninterfaces = ["nowhere0"]\n'
    config.write_text(named)
    assert main(["doctor", "--config", str(config)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:2] == ["missing", str(config)] for line in lines)
    config.write_text("[gateway]\ninterfaces = []\n")
    assert main(["doctor", "--config", str(config)]) == 1
    assert "the section [gateway] is wrong" in capsys.readouterr().out


def test_no_configuration(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("interfaces")
    assert main(["doctor", "--config", str(config)]) == 1
    assert "not TOML" in capsys.readouterr().err
    config.unlink()
    assert main(["doctor", "--config", str(config)]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
