# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate classify` as the tests beside this file run it.

Knows how captures of crafted packets are written and how a command's output is read.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.capture import crafted
from tests.unit.tunnels import crafting
from vpngate.cli import main
from vpngate.packets import Transport

# A payload, and whether it goes from server to client.
Said = tuple[bytes, bool]


class Classify:
    """Runs it on captures made for the purpose; what it printed, and how it ended."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.err: list[str] = []
        self.status = 0
        self._capsys = capsys

    def capture(
        self,
        transport: Transport,
        ports: tuple[int, int],
        said: Iterable[Said],
        *,
        ipv6: bool = False,
        name: str = "made.pcap",
    ) -> Path:
        """A capture of one conversation, a packet a second."""
        frames = [
            crafting.network(transport, payload, ports, back=back, ipv6=ipv6)
            for payload, back in said
        ]
        path = self.folder / name
        path.write_bytes(crafted.pcap(frames, crafted.RAW))
        return path

    def text(self, *arguments: object) -> str:
        """What it prints."""
        self.status = main(["classify", *map(str, arguments)])
        out, err = self._capsys.readouterr()
        self.err = err.splitlines()
        return out

    def flows(self, *arguments: object) -> list[dict[str, Any]]:
        """What it prints as JSON."""
        out = self.text("--format", "json", *arguments)
        return [json.loads(line) for line in out.splitlines()]

    def lacking(self, *said: Said, of: tuple[Transport, tuple[int, int]]) -> list[str]:
        """What the one flow of a capture of these packets lacked."""
        (flow,) = self.flows("--explain", self.capture(*of, said))
        lacks: list[str] = flow["explanation"]["lacking"]
        assert all(lack in self.unwrapped() for lack in lacks)
        return lacks

    def unwrapped(self) -> str:
        """The same capture's explanation for people, its lines joined."""
        out = self.text("--explain", self.folder / "made.pcap")
        return " ".join(out.split())


@pytest.fixture
def classify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Classify:
    return Classify(tmp_path, capsys)
