# SPDX-License-Identifier: GPL-2.0-or-later
"""The Ansible role in a bare Debian: what it sets, and that it then changes nothing.

Ansible runs on the machine itself, as `ansible-pull` does.
"""

import json
import re
import shutil

import pytest

from tests.house import ROOT
from tests.lab.systemd import Done, Machine
from tests.systemd.desk import INSTALLING, PACKAGE
from tests.systemd.service import UNIT

pytestmark = pytest.mark.timeout(1800)  # seconds, on a busy machine

_ROLE = "/srv/config/ansible"
_ARCHIVES = "/srv/ansible"
_REGISTRY = "/srv/registry.csv"
_CONFIG = "/etc/vpngate/vpngate.toml"
_KEY = "0123456789abcdef0123456789abcdef"
_SETTINGS = {
    "gateway": {"interfaces": ["lan*"], "share_key": "/etc/vpngate/share.key"},
    "registry": {"min_prefix_length": {"ipv4": 9, "ipv6": 20}, "allow_special": False},
    "throttle": {"rate": "6mbit"},
    "http": {"contact": 'write to "us" \N{E-MAIL SYMBOL}'},
}


@pytest.fixture
def controller(bare: Machine) -> Machine:
    machine = bare
    if not list(machine.path(_ARCHIVES).glob("ansible-core_*.deb")):
        pytest.skip("Ansible could not be had when the root was made")
    shutil.copytree(ROOT / "config" / "ansible", machine.path(_ROLE))
    # apt knows an order; nothing is fetched.
    line = f"apt-get -qq --yes install {_ARCHIVES}/*.deb"
    machine.run("sh", "-c", line, timeout=INSTALLING)
    machine.path(_REGISTRY).write_text(
        "prefix,registration\n203.0.113.0/24,R-1\n198.51.100.0/24,R-2\n"
    )
    machine.path("/srv/inventory").write_text(
        "[gateways]\nlocalhost ansible_connection=local"
        " ansible_python_interpreter=/usr/bin/python3\n"
    )
    return machine


def play(
    machine: Machine,
    *options: str,
    settings: object = _SETTINGS,
    package: str = PACKAGE,
) -> Done:
    variables = {
        "vpngate_package": package,
        "vpngate_registry": _REGISTRY,
        "vpngate_share_key": _KEY,
        "vpngate_settings": settings,
    }
    return machine.attempt(
        *("env", "HOME=/root", "ANSIBLE_NOCOLOR=1", "ansible-playbook"),
        *("-i", "/srv/inventory", f"{_ROLE}/gateways.yml"),
        *("--extra-vars", json.dumps(variables), *options),
        timeout=INSTALLING,
    )


def recap(done: Done) -> dict[str, int]:
    """What the last line counts: ok, changed, failed and the like."""
    assert done.stdout, done.stderr
    last = done.stdout.strip().splitlines()[-1]
    return {name: int(n) for name, n in re.findall(r"(\w+)=(\d+)", last)}


def test_twice_and_the_second_changes_nothing(controller: Machine) -> None:
    machine = controller
    first = play(machine)
    assert first.status == 0, first.stdout
    assert recap(first)["changed"] >= 4
    assert machine.show(UNIT, "ActiveState") == "active"
    assert machine.run("systemctl", "is-enabled", UNIT) == "enabled\n"
    written = machine.path(_CONFIG).read_text()
    assert "min_prefix_length = { ipv4 = 9, ipv6 = 20 }" in written
    status = json.loads(machine.run("vpngate", "status", "--format", "json"))
    assert status["registry"]["prefixes"] == {"ipv4": 2, "ipv6": 0}
    key = machine.path("/etc/vpngate/share.key")
    assert key.read_text() == f"{_KEY}\n"
    assert key.stat().st_mode & 0o777 == 0o640

    process = machine.show(UNIT, "MainPID")
    for options in (("--check", "--diff"), ()):
        again = play(machine, *options)
        assert again.status == 0, again.stdout
        counted = recap(again)
        assert (counted["changed"], counted["failed"]) == (0, 0), again.stdout

    # What an upgrade would change can be asked before its file is there.
    machine.run("cp", PACKAGE, "/srv/later.deb")
    before = play(machine, "--check", "--diff", package="/srv/later.deb")
    assert before.status == 0, before.stdout

    # A setting that may change live is reloaded; the daemon goes on.
    other = _SETTINGS | {"throttle": {"rate": "7mbit"}}
    assert recap(play(machine, settings=other))["changed"] == 2
    assert machine.show(UNIT, "MainPID") == process

    # One with which nothing would start does not get there.
    with machine.path(_REGISTRY).open("a") as file:
        file.write("192.0.2.0/25,R-3\n")
    wrong = _SETTINGS | {"throttle": {"rate": "1kbit"}}
    refused = play(machine, settings=wrong)
    assert refused.status != 0
    assert "the least allowed" in refused.stdout
    assert "7mbit" in machine.path(_CONFIG).read_text()
    assert machine.show(UNIT, "ActiveState") == "active"
    assert _KEY not in first.stdout + refused.stdout

    # What came along with it is loaded once that is mended.
    mended = play(machine, settings=other)
    assert mended.status == 0, mended.stdout
    status = json.loads(machine.run("vpngate", "status", "--format", "json"))
    assert status["registry"]["prefixes"] == {"ipv4": 3, "ipv6": 0}
