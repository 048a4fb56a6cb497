# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands as they are called, a registry and a configuration for them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vpngate.cli import main

Run = Callable[..., tuple[int, str, list[str]]]

REGISTRY = """\
prefix,registration,tunnels,valid_from,valid_until
192.0.2.0/24,R-1,wireguard+ipsec,2020-01-01,
192.0.2.128/25,R-2,,,
2001:db8::/32,R-3,,,2099-01-01T00:00:00Z
198.51.100.0/24,R-4,,,2001-01-01
"""
TO_2099 = "2099-01-01T00:00:00Z"
HOST_BITS = "'192.0.2.1/24' has host bits set; 192.0.2.0/24 would be its network"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command: its status, stdout, and the lines of stderr."""

    def run(*arguments: object) -> tuple[int, str, list[str]]:
        status = main(list(map(str, arguments)))
        out, err = capsys.readouterr()
        assert all(line.startswith("vpngate: ") for line in err.splitlines())
        return (
            status,
            out,
            [line.removeprefix("vpngate: ") for line in err.splitlines()],
        )

    return run


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    path = tmp_path / "registry.csv"
    path.write_text(REGISTRY)
    return path


@pytest.fixture
def config(tmp_path: Path, registry: Path) -> Path:
    path = tmp_path / "vpngate.toml"
    path.write_text(
        f'[gateway]\ninterfaces = ["lan0"]\n[registry]\nsources = ["{registry}"]\n'
        f'state = "{tmp_path}/state"\n'
    )
    return path
