# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands that docs/registry.md and fleet.md show for whoever keeps a registry, as
they stand there, each in its turn.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import LINES_NOT_RUN, blocks
from tests.faults.publishers import serial_of
from vpngate.feed.minisign import PublicKey, verify

FOLDER = "/srv/registry"
PAGE = "docs/registry.md"
needs_minisign = pytest.mark.skipif(
    shutil.which("minisign") is None, reason="needs minisign (Debian package)"
)


def texts(document: str, language: str) -> list[str]:
    return [each.text for each in blocks(language) if each.document == document]


def type_all(document: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """What a document shows, but for what copies to other machines, in one shell."""
    (tmp_path / "www").mkdir()
    (rows,) = texts(PAGE, "csv")
    (tmp_path / "registry.csv").write_text(rows)
    shown = "".join(texts(document, "sh")).splitlines()
    commands = [line for line in shown if not line.startswith(LINES_NOT_RUN)]
    assert len(commands) == len(shown) - 1
    program = Path(sys.executable).parent
    return subprocess.run(
        ["sh", "-e"],
        cwd=tmp_path,
        input="\n".join(commands).replace(FOLDER, str(tmp_path / "www")),
        env=os.environ | {"PATH": f"{program}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


@needs_minisign
def test_what_the_fleet_shows_is_signed_for_it(tmp_path: Path) -> None:
    make = ["minisign", "-G", "-W", "-p", "vpngate.pub", "-s", "vpngate.key"]
    subprocess.run(make, cwd=tmp_path, check=True, capture_output=True)
    done = type_all("docs/fleet.md", tmp_path)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "registry.json"
    signed = path.with_name(f"{path.name}.minisig").read_bytes()
    public = PublicKey.parse((tmp_path / "vpngate.pub").read_text())
    verify(path.read_bytes(), signed, public, path.name)
    # What only one gateway asks for is suspended with the rest.
    first = json.loads((tmp_path / "www" / "first.json").read_text())
    assert (first["serial"], first["suspend"]) == (45, "why")


@needs_minisign
def test_every_command_does_what_it_should(tmp_path: Path) -> None:
    done = type_all(PAGE, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "would publish" in done.stdout
    assert "gateways observe: R-1001 is missing" in done.stdout
    name = "registry.json"
    path = tmp_path / "www" / name
    signed = path.with_name(f"{name}.minisig").read_bytes()
    public = PublicKey.parse((tmp_path / "new.pub").read_text())
    verify(path.read_bytes(), signed, public, name)
    assert serial_of(path.read_bytes()) == 1002
