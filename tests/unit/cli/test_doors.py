# SPDX-License-Identifier: GPL-2.0-or-later
"""What a daemon would not begin with is refused at every door, or warned of."""

from pathlib import Path

import pytest
from netaddr import IPNetwork

from vpngate.attachment import look
from vpngate.cli import main


class Run:
    """A command: status, stdout, lines of stderr."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> tuple[int, str, list[str]]:
        status = main([str(each) for each in arguments])
        out, err = self._capsys.readouterr()
        return status, out, err.splitlines()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    return tmp_path / "registry.csv"


@pytest.fixture
def config(tmp_path: Path, registry: Path) -> Path:
    path = tmp_path / "vpngate.toml"
    path.write_text(
        '[gateway]\ninterfaces = ["lan0"]\n[registry]\n'
        f'sources = ["{registry}"]\nstate = "{tmp_path / "state"}"\n'
        'max_rejected = "100%"\n'
    )
    return path


@pytest.mark.parametrize("command", ["lookup", "classify", "diff", "check"])
def test_no_command_answers_from_what_the_guard_refuses(
    run: Run, config: Path, registry: Path, tmp_path: Path, command: str
) -> None:
    registry.write_text("prefix,registration\n0.0.0.0/0,R-1\n192.0.2.1/24,R-2\n")
    sound = tmp_path / "sound.csv"
    sound.write_text("prefix,registration\n192.0.2.0/24,R-1\n")
    status, out, err = run(
        *{
            "lookup": ("lookup", "203.0.113.1", "--registry", registry),
            "classify": ("classify", tmp_path, "--registry", registry),
            "diff": ("diff", sound, registry),
            "check": ("check", "--config", config),
        }[command]
    )
    assert status == 1
    assert "is a default route" in "\n".join([*err, out])
    # The row that is left out is named, too.
    assert any("line 3, prefix: " in line for line in err)


@pytest.mark.parametrize("command", ["lookup", "classify", "diff", "check"])
@pytest.mark.parametrize(
    "rows", ["", "192.0.2.0/24,R-1,,,2026-01-01\n"], ids=["nobody", "expired"]
)
@pytest.mark.parametrize("by", ["registry", "config"])
def test_no_command_answers_from_a_registry_of_nobody(  # noqa: PLR0917 - fixtures
    run: Run,
    config: Path,
    registry: Path,
    tmp_path: Path,
    command: str,
    rows: str,
    by: str,
) -> None:
    registry.write_text(f"prefix,registration,tunnels,valid_from,valid_until\n{rows}")
    given = ("--registry", registry) if by == "registry" else ("--config", config)
    status, out, err = run(
        *{
            "lookup": ("lookup", "192.0.2.1", *given),
            "classify": ("classify", tmp_path, *given),
            "diff": ("diff", registry, registry),
            "check": ("check", "--config", config),
        }[command]
    )
    assert status == 1
    (line,) = [
        line
        for line in [*err, *out.splitlines()]
        if "has no registration in force" in line
    ]
    assert command == "diff" or str(registry) in line
    if command in {"lookup", "classify"}:
        assert (out, err) == ("", [line])


def test_lookup_of_an_ipv4_address_in_the_clothes_of_ipv6(
    run: Run, registry: Path
) -> None:
    registry.write_text("prefix,registration\n192.0.2.0/24,R-1\n")
    status, out, _ = run("lookup", "::ffff:192.0.2.1", "--registry", registry)
    assert status == 0
    assert out.splitlines()[1].split()[:2] == ["192.0.2.1", "yes"]


def test_check_warns_of_subscribers_that_the_registry_spares_together(
    run: Run, config: Path, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.write_text("prefix,registration\n192.0.2.0/24,R-1\n")
    here = frozenset(map(IPNetwork, ("192.0.2.0/26", "203.0.113.0/24")))
    monkeypatch.setattr(look, "current_networks", lambda _: here)
    status, _, err = run("check", "--config", config)
    (line,) = err
    assert line.startswith("vpngate: warning: 192.0.2.0/26: the registry covers")
    assert status == 0
