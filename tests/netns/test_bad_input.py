# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input ends with one clear line each, and with the exit status it deserves."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab import wireguard
from tests.lab.capture import capturing
from tests.lab.daemon import VPNGATE, Settings, enforcing_settings
from tests.lab.namespaces import PATIENCE
from tests.lab.topology import Lab

_NO, _WRONG = 1, 2  # exit status: the answer is no; unreadable input or no daemon


@dataclass(frozen=True)
class Ending:
    status: int
    stdout: str
    complaints: list[str]


@pytest.fixture
def settings(lab: Lab, request: pytest.FixtureRequest) -> Settings:
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    return enforcing_settings(lab, name)


def _end(lab: Lab, *argv: str, prefix: tuple[str, ...] = ()) -> Ending:
    done = subprocess.run(
        lab.gateway.command((*prefix, VPNGATE, *argv)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return Ending(done.returncode, done.stdout, done.stderr.splitlines())


def _run(lab: Lab, settings: Settings, prefix: tuple[str, ...] = ()) -> Ending:
    """Start the daemon, which has to end by itself."""
    return _end(
        lab,
        *("run", "--config", str(settings.config), "--socket", str(settings.socket)),
        prefix=prefix,
    )


def _assert_clear(ending: Ending, status: int, *words: str) -> None:
    """One line on stderr, with the words in it; nothing on stdout, no traceback."""
    assert ending.status == status
    assert ending.stdout == ""
    (line,) = ending.complaints
    assert line.startswith("vpngate: ")
    for word in words:
        assert word in line


def test_broken_configuration_has_a_line_for_each_fault(
    lab: Lab, settings: Settings
) -> None:
    settings.config.write_text(
        '[gateway]\ninterfaces = ["lan0"]\nmode = "block"\n'
        '[throttle]\nrate = "5mbps"\n[capture]\ncolour = "red"\n'
        f'[registry]\nsources = ["{settings.registry}"]\n'
    )
    for command in ("check", "run"):
        ending = _end(lab, command, "--config", str(settings.config))
        assert ending.status == _NO
        assert len(ending.complaints) == 3
        for key in ("gateway.mode", "throttle.rate", "capture.colour"):
            (line,) = (text for text in ending.complaints if key in text)
            assert str(settings.config) in line


def test_missing_configuration(lab: Lab, settings: Settings) -> None:
    settings.config.unlink()
    _assert_clear(_run(lab, settings), _WRONG, str(settings.config))


def test_text_that_is_no_toml(lab: Lab, settings: Settings) -> None:
    settings.config.write_text("interfaces: [lan0]\n")
    _assert_clear(_run(lab, settings), _NO, str(settings.config))


def test_broken_registry(lab: Lab, settings: Settings) -> None:
    settings.registry.write_bytes(b"\x00\x01\x02 no registry at all")
    ending = _run(lab, settings)
    assert ending.status == _NO
    assert any(str(settings.registry) in line for line in ending.complaints)
    assert not any("Traceback" in line for line in ending.complaints)


def test_missing_registry(lab: Lab, settings: Settings) -> None:
    settings.registry.unlink()
    ending = _run(lab, settings)
    assert ending.status in (_NO, _WRONG)
    assert any(str(settings.registry) in line for line in ending.complaints)


def test_missing_interface(lab: Lab, settings: Settings) -> None:
    """Behind a mirror port; anywhere else it is waited for (test_many_interfaces)."""
    settings.change(
        gateway={"mode": "observe", "interfaces": ["lan0", "nowhere0"]},
        capture={"source": "mirror"},
    )
    _assert_clear(_run(lab, settings), _NO, "nowhere0")


def test_no_privileges(lab: Lab, settings: Settings) -> None:
    without = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")
    _assert_clear(_run(lab, settings, without), _NO, "CAP_NET_ADMIN")


@pytest.fixture(scope="module")
def capture(lab: Lab) -> Path:
    path = lab.folder / "handshake.pcap"
    with capturing(lab.gateway, path), wireguard.tunnel(lab.client, lab.stranger):
        pass
    return path


def test_truncated_capture_yields_what_came_before(lab: Lab, capture: Path) -> None:
    cut = lab.folder / "cut.pcap"
    cut.write_bytes(capture.read_bytes()[:-7])
    ending = _end(lab, "classify", str(cut), "--format", "json")
    assert ending.status == _WRONG
    assert '"tunnel": "wireguard"' in ending.stdout
    (line,) = ending.complaints
    assert str(cut) in line


def test_text_file_as_capture(lab: Lab) -> None:
    text = lab.folder / "notes.pcap"
    text.write_text("these are my notes, not a capture\n")
    _assert_clear(_end(lab, "classify", str(text)), _WRONG, str(text))


def test_missing_capture(lab: Lab) -> None:
    path = str(lab.folder / "nowhere.pcap")
    _assert_clear(_end(lab, "classify", path), _WRONG, path)


def test_no_daemon_to_talk_to(lab: Lab) -> None:
    socket = str(lab.folder / "nobody.sock")
    for command in ("status", "reload"):
        _assert_clear(_end(lab, command, "--socket", socket), _WRONG, socket)


def test_wrong_use(lab: Lab) -> None:
    for argv in (("frobnicate",), ("lookup",), ("status", "--format", "poem")):
        ending = _end(lab, *argv)
        assert ending.status == _WRONG
        assert len(ending.complaints) == 1
