# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel that has not got what vpngate needs: what it says, and what it still does.

Debian has nearly all of it in modules, which the kernel asks a program of its own for.
Here that program is one that finds none, or not those that are named.

Collected by `make kernels` alone: what a kernel has loaded it keeps.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.daemon import VPNGATE, Settings, daemon
from tests.lab.namespaces import Namespace
from tests.lab.topology import quiet

_HELPER = Path("/proc/sys/kernel/modprobe")
# Where the kernel starts it: the initial file system, the root of the first process.
_INITIAL = Path("/proc/1/root")
_PICKY = "/sbin/picky"
_SHAPING = "*ifb*|*htb*|*tbf*"
_REFUSED = 1  # exit status: something that vpngate needs is not there


@pytest.fixture
def lacking(request: pytest.FixtureRequest) -> Iterator[None]:
    """No module is found whose name has a part like the parameter's.

    But veth, by which the doctor tries all others: without it nothing is tried.
    """
    place = _INITIAL / _PICKY.lstrip("/")
    loads = 'exec /sbin/modprobe "$@"'
    refused = f"*veth*) ;; {request.param}) exit 1 ;;"
    script = f'#!/bin/sh\ncase "$*" in {refused} esac\n{loads}\n'
    place.write_text(script)
    place.chmod(0o755)
    before = _HELPER.read_text()
    _HELPER.write_text(f"{_PICKY}\n")
    yield
    _HELPER.write_text(before)
    place.unlink()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a gateway whose interface is yet to come."""
    return Settings(tmp_path / "daemon")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Namespace]:
    made = Namespace("gateway", tmp_path)
    quiet(made)  # its loopback is up: the daemon's pages are there
    yield made
    made.close()


def told(gateway: Namespace, *words: str) -> subprocess.CompletedProcess[str]:
    """What a command says, which is never a traceback."""
    command = (VPNGATE, *words)
    done = subprocess.run(
        gateway.command(command), capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def skip_if_loaded(module: str) -> None:
    loaded = Path("/proc/modules").read_text().splitlines()
    if any(line.startswith(f"{module} ") for line in loaded):
        pytest.skip("some test before has had the kernel load what is to be lacking")


def missing(gateway: Namespace, settings: Settings) -> str:
    """What the doctor finds missing."""
    config = f"--config={settings.config}"
    done = told(gateway, "doctor", config, "--format", "json")
    assert done.returncode == 1, done.stdout
    findings = json.loads(done.stdout)["findings"]
    return "\n".join(str(each) for each in findings if each["weight"] == "missing")


@pytest.mark.parametrize("lacking", ["*"], indirect=True)
@pytest.mark.usefixtures("lacking")
def test_without_any_module(gateway: Namespace, settings: Settings) -> None:
    """Nothing can start, which is told in a line; what needs no kernel goes on."""
    skip_if_loaded("nf_tables")
    config = f"--config={settings.config}"
    assert told(gateway, "check", config).returncode == 0
    assert "nf_tables" in missing(gateway, settings)
    refused = told(gateway, "run", config, f"--socket={settings.socket}")
    assert refused.returncode == _REFUSED
    said = [line for line in refused.stderr.splitlines() if line]
    assert len(said) == 1, said


@pytest.mark.parametrize("lacking", [_SHAPING], indirect=True)
@pytest.mark.usefixtures("lacking")
def test_without_those_that_slow(gateway: Namespace, settings: Settings) -> None:
    """It observes; to enforce is refused, and it goes on to observe."""
    skip_if_loaded("sch_htb")
    # The doctor does not try ifb where its module is there: it makes interfaces.
    assert "sch_htb" in missing(gateway, settings)
    with daemon(gateway, settings) as running:
        refused = told(gateway, "enforce", f"--socket={settings.socket}")
        assert refused.returncode == 1
        assert running.ask("status")["mode"] == "observe"
    settings.change(gateway={"mode": "enforce"})
    files = (f"--config={settings.config}", f"--socket={settings.socket}")
    refused = told(gateway, "run", *files)
    assert refused.returncode == _REFUSED
