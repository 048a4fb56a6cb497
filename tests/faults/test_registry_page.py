# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands that docs/registry.md shows, as they stand there, each in its turn."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.publishers import serial_of
from vpngate.feed.minisign import PublicKey, verify

PAGE = (Path(__file__).parents[2] / "docs" / "registry.md").read_text()
FOLDER = "/srv/registry"
COPYING = "rsync"


def blocks(language: str) -> list[str]:
    pattern = rf"^```{language}\n(.*?)^```"
    return re.findall(pattern, PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(
    shutil.which("minisign") is None, reason="needs minisign (Debian package)"
)
def test_every_command_does_what_it_should(tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    (rows,) = blocks("csv")
    (tmp_path / "registry.csv").write_text(rows)
    shown = "".join(blocks("sh")).splitlines()
    commands = [line for line in shown if not line.startswith(COPYING)]
    assert len(commands) == len(shown) - 1
    program = Path(sys.executable).parent
    done = subprocess.run(
        ["sh", "-e"],
        cwd=tmp_path,
        input="\n".join(commands).replace(FOLDER, str(tmp_path / "www")),
        env=os.environ | {"PATH": f"{program}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "would publish" in done.stdout
    assert "gateways observe: R-1001 is missing" in done.stdout
    name = "registry.json"
    path = tmp_path / "www" / name
    signed = path.with_name(f"{name}.minisig").read_bytes()
    public = PublicKey.parse((tmp_path / "new.pub").read_text())
    verify(path.read_bytes(), signed, public, name)
    assert serial_of(path.read_bytes()) == 1002
