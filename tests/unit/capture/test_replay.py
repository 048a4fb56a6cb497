# SPDX-License-Identifier: GPL-2.0-or-later
"""What a replay confirms flows with: the second reader, as long as it takes."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.capture import crafted
from tests.unit.second_reading.confirmations import CONFIRMATIONS, TUNNELS, heard
from vpngate.capture.replay import Replay
from vpngate.cli import classify, main
from vpngate.recognition import SecondReader
from vpngate.tunnels import all_tunnels


def missing() -> SecondReader:
    raise ModuleNotFoundError(name="scapy")


def test_the_second_reader_confirms() -> None:
    replay = Replay(all_tunnels())
    for confirmation in CONFIRMATIONS:
        tunnel = TUNNELS[confirmation.tunnel]
        said = heard(tunnel, confirmation.packets())
        assert replay.agrees(tunnel, said)
        assert not replay.agrees(tunnel, said[len(said) // 2 :])
    assert not replay.unread


def test_without_scapy_nothing_is_confirmed_and_it_is_known() -> None:
    replay = Replay(all_tunnels())
    tunnel = replace(TUNNELS["wireguard"], second=missing)
    assert not replay.agrees(tunnel, [])
    assert replay.unread


def test_classify_says_so_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wireguard = replace(TUNNELS["wireguard"], second=missing)
    monkeypatch.setattr(classify, "all_tunnels", lambda: (wireguard,))
    path = tmp_path / "handshake.pcap"
    path.write_bytes(crafted.pcap(crafted.HANDSHAKE))
    assert main(["classify", "--explain", str(path)]) == 0
    out, err = capsys.readouterr()
    [line] = err.splitlines()
    assert "scapy" in line
    assert "lacking: scapy cannot be loaded" in out
