# SPDX-License-Identifier: GPL-2.0-or-later
"""What we sign, by the real minisign's keys, is verified by the real minisign."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.certificates import Authority
from tests.faults.registry_server import Connection, RegistryServer, Route
from tests.lab import terminal
from vpngate.cli import main

pytestmark = pytest.mark.skipif(
    shutil.which("minisign") is None, reason="needs minisign (Debian package)"
)

ROWS = "prefix,registration\n192.0.2.0/24,R-1\n2001:db8::/32,R-2\n"
PASSWORD = "a password, für alle"


def minisign(*arguments: str | Path, typed: str = "") -> str:
    done = subprocess.run(
        ["minisign", *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
        input=typed,
    )
    return done.stdout


class Keeper:
    """A folder with rows, a key that minisign made, and what is published."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.public, self.secret = folder / "vpngate.pub", folder / "vpngate.key"
        self.rows = folder / "rows.csv"
        self.rows.write_text(ROWS)
        (folder / "www").mkdir()
        self.path = folder / "www" / "registry.json"

    def new_key(self, *options: str, typed: str = "") -> None:
        keys = ("-p", self.public, "-s", self.secret)
        minisign("-G", "-f", *options, *keys, typed=typed)

    def arguments(self, *options: str) -> list[str]:
        wish = ["--name", "für alle", "--expires", "7d", *options]
        key = ["--sign-with", str(self.secret)]
        return ["publish", str(self.rows), *wish, *key, "-o", str(self.path)]

    def verified(self) -> str:
        """What minisign says of the pair; CalledProcessError if it does not fit."""
        return minisign("-V", "-p", self.public, "-m", self.path)


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(tmp_path)


def test_minisign_verifies_what_was_published(keeper: Keeper) -> None:
    keeper.new_key("-W")
    for serial in (1, 2):
        assert main(keeper.arguments()) == 0
        said = keeper.verified()
        assert "Signature and comment signature verified" in said
        comment = said.partition("Trusted comment: ")[2]
        assert comment.startswith("timestamp:")
        fields = comment.strip().split("\t")[1:]
        name = "registry:für alle"
        assert fields == ["file:registry.json", name, f"serial:{serial}", "hashed"]
    keeper.path.write_text(keeper.path.read_text() + "\n")
    with pytest.raises(subprocess.CalledProcessError):
        keeper.verified()


def test_minisign_may_sign_it_anew(
    keeper: Keeper, capsys: pytest.CaptureFixture[str]
) -> None:
    """By hand, between two publications: nothing is found wrong with that."""
    keeper.new_key("-W")
    assert main(keeper.arguments()) == 0
    minisign("-S", "-s", keeper.secret, "-m", keeper.path)
    assert "\thashed" in keeper.verified()
    capsys.readouterr()
    assert main(keeper.arguments()) == 0
    assert capsys.readouterr().err == ""
    assert "serial:2" in keeper.verified()


def test_a_key_with_a_password_of_minisigns_own_costs(keeper: Keeper) -> None:
    """A gibibyte of memory for scrypt, as minisign has it."""
    keeper.new_key(typed=f"{PASSWORD}\n{PASSWORD}\n")
    argv = [sys.executable, "-m", "vpngate", *keeper.arguments()]
    status, shown = terminal.told(argv, PASSWORD)
    assert status == 0, shown
    assert "serial:1" in keeper.verified()


def test_a_gateway_takes_it_from_a_server(
    keeper: Keeper,
    server: RegistryServer,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And says what it has been told: that it is to observe, and why."""
    keeper.new_key("-W")
    for name in ("registry.json", "registry.json.minisig"):
        server.routes[f"/{name}"] = from_file(keeper.path.with_name(name))
    config = keeper.folder / "vpngate.toml"
    key = keeper.public.read_text().splitlines()[1]
    sections: dict[str, dict[str, object]] = {
        "gateway": {"interfaces": ["lan0"]},
        "registry": {
            "sources": [server.url("/registry.json")],
            "public_key": key,
            "state": str(keeper.folder / "state"),
        },
    }
    config.write_text(
        "\n".join(
            "\n".join(
                [f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in keys.items())]
            )
            for name, keys in sections.items()
        )
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    for options, words in (
        ((), "serial 1"),
        (("--suspend", "a mistake"), "gateways observe: a mistake"),
    ):
        assert main(keeper.arguments(*options)) == 0
        capsys.readouterr()
        assert main(["check", "--config", str(config)]) == 0
        out, err = capsys.readouterr()
        assert words in out
        assert err == ""


def from_file(path: Path) -> Route:
    def route(connection: Connection) -> None:
        content = path.read_bytes()
        kind = "application/json"
        connection.head(Content_Length=str(len(content)), Content_Type=kind)
        connection.send(content)

    return route
