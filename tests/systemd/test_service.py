# SPDX-License-Identifier: GPL-2.0-or-later
"""The service under systemd as PID 1: started, reloaded, hung, killed, stopped.

The traffic is real, and so is everything that the unit takes away from the daemon: what
works here works with its capabilities, its system calls and its view of the files.
"""

import json
import re
import signal
import time
from collections.abc import Iterator

import pytest

from tests.lab import load, wireguard
from tests.lab.systemd import Machine, eventually
from tests.lab.topology import UNREGISTERED, Lab
from tests.lab.wireguard import WireGuard
from tests.systemd.service import COMMAND, UNIT, Service

_NET_ADMIN, _NET_RAW = 1 << 12, 1 << 13  # linux/capability.h
_CAPABILITIES = ("CapEff", "CapPrm", "CapBnd", "CapAmb")
_EXPOSURE = "15"  # tenths
_DEADMAN, _WATCHDOG = 30.0, 45.0  # seconds, as shipped


@pytest.fixture
def tunnel(lab: Lab, service: Service) -> Iterator[WireGuard]:
    """The service enforces, and has given the tunnel that stands its verdict."""
    service.control("start")
    with wireguard.tunnel(lab.client, lab.stranger) as made:
        service.daemon.wait_until(lambda: service.throttled() == 1, "the verdict")
        yield made


def tables(lab: Lab) -> str:
    return lab.gateway.run("nft", "list", "tables")


def is_armed(lab: Lab) -> bool:
    """Whether the kernel's own switch is on."""
    if "netdev vpngate" not in tables(lab):
        return False
    listed = lab.gateway.run("nft", "-j", "list", "set", "netdev", "vpngate", "armed")
    return any("elem" in one.get("set", {}) for one in json.loads(listed)["nftables"])


def test_its_exposure(machine: Machine) -> None:
    unit = f"/usr/lib/systemd/system/{UNIT}"
    machine.run("systemd-analyze", "verify", "--man=no", unit)
    rated = machine.run(
        *("systemd-analyze", "security", "--no-pager", "--offline=true"),
        *("--threshold", _EXPOSURE, unit),
    )
    assert "Overall exposure level" in rated


def test_what_it_has_and_what_it_does(
    lab: Lab, service: Service, tunnel: WireGuard
) -> None:
    machine, daemon = service.machine, service.daemon
    machine.run("systemctl", "status", "--no-pager", UNIT)
    assert service.show("StatusText").startswith("enforce on ")
    process = service.process()
    assert {int(process[name], 16) for name in _CAPABILITIES} == {_NET_ADMIN}
    assert (process["NoNewPrivs"], process["Seccomp"]) == ("1", "2")
    assert process["Uid"].split()[0] == machine.run("id", "-u", "vpngate").strip()
    limits = machine.run("cat", f"/proc/{service.show('MainPID')}/limits")
    assert limits.partition("Max core file size")[2].split()[:2] == ["0", "0"]

    before = daemon.metric("vpngate_throttled_packets_total")
    with (
        load.stream(tunnel.client, tunnel.server, rate=1e6),
        wireguard.tunnel(lab.neighbour, lab.member),
    ):
        daemon.wait_for_flow("wireguard", "allow")
        daemon.wait_until(
            lambda: daemon.metric("vpngate_throttled_packets_total") > before,
            "throttled packets",
        )
    status, _ = daemon.fetch("/")
    assert status == 200
    assert daemon.fetch("/healthz") == (200, "ok\n")
    assert daemon.ask("status")["kernel"] == {"armed": True, "in_sync": True}

    files = machine.shell("cd /var/lib/vpngate && stat -c '%U:%G %a' . *").split("\n")
    assert files[0] == "vpngate:vpngate 750"
    kept = [line for line in files[1:] if line]
    assert kept
    assert all(re.fullmatch("vpngate:vpngate 6[04]0", line) for line in kept)
    assert machine.shell("stat -c '%G %a' /run/vpngate/control.sock") == "vpngate 660\n"
    said = machine.journal(UNIT)
    assert "running: enforce on " in said
    assert lab.client.ipv4 not in said


def test_who_may_use_the_control_socket(service: Service) -> None:
    service.control("start")
    machine = service.machine

    def status(group: str) -> int:
        asked = ("setpriv", "--reuid=nobody", f"--regid={group}", "--clear-groups")
        return machine.attempt(*asked, COMMAND, "status").status

    assert status("vpngate") == 0
    assert status("nogroup") == 2


def test_the_doctor_beside_it(service: Service) -> None:
    service.control("start")
    found = service.machine.attempt(COMMAND, "doctor", "--format", "json")
    findings = json.loads(found.stdout)["findings"]
    bad = [one for one in findings if one["weight"] in {"missing", "conflict"}]
    assert bad == []


@pytest.mark.usefixtures("tunnel")
def test_a_reload(service: Service) -> None:
    service.settings.register(*UNREGISTERED)
    service.control("reload")
    assert service.throttled() == 0
    assert service.restarts() == 0


@pytest.mark.usefixtures("tunnel")
def test_a_reload_that_is_refused(service: Service) -> None:
    service.settings.config.write_text("[gateway]\ninterfaces = 7\n")
    assert service.try_to("reload").status != 0
    assert service.is_up()
    assert service.throttled() == 1


def test_a_reload_by_signal_is_waited_for(service: Service) -> None:
    version = service.machine.run("systemctl", "--version").split()[1]
    if int(version) < 253:
        pytest.skip("Type=notify-reload came with systemd 253")
    service.drop_in("notify-reload.conf")
    service.control("start")
    assert service.show("Type") == "notify-reload"
    before = service.daemon.metric("vpngate_registry_prefixes")
    service.settings.register(*UNREGISTERED)
    service.control("reload")
    assert service.daemon.metric("vpngate_registry_prefixes") == before + 2
    service.settings.config.write_text("[gateway]\ninterfaces = 7\n")
    service.control("reload")
    assert service.is_up()
    assert service.daemon.metric("vpngate_config_last_reload_successful") == 0


def test_killed(lab: Lab, service: Service, tunnel: WireGuard) -> None:
    service.control("kill", "--signal=KILL")
    eventually(lambda: service.restarts() == 1 and service.is_up(), "a new daemon")
    assert service.throttled() == 0
    tunnel.shake_hands()
    service.daemon.wait_until(lambda: service.throttled() == 1, "the verdict")
    assert tables(lab).count("vpngate") == 1


@pytest.mark.usefixtures("tunnel")
def test_hung(lab: Lab, service: Service) -> None:
    """The dead man's switch comes before the watchdog, and needs nobody."""
    journal = service.machine.cursor()
    before = service.show("MainPID")
    service.control("kill", "--signal=STOP")
    hung = time.monotonic()
    eventually(lambda: not is_armed(lab), "a switch that is off")
    off = time.monotonic() - hung
    assert service.show("MainPID") == before
    assert off < _WATCHDOG
    eventually(lambda: service.restarts() == 1 and service.is_up(), "a new daemon")
    assert time.monotonic() - hung > _DEADMAN
    assert "watchdog" in service.machine.journal(UNIT, journal).lower()
    eventually(lambda: is_armed(lab), "a switch that is on")


@pytest.mark.usefixtures("tunnel")
def test_stopped(lab: Lab, service: Service) -> None:
    service.control("stop")
    assert service.show("Result") == "success"
    assert service.show("ExecMainStatus") == "0"
    assert "vpngate" not in tables(lab)
    assert load.shaping_devices(lab.gateway) == []
    assert not service.machine.path("/run/vpngate").exists()


def test_a_configuration_that_is_wrong_is_told_once(service: Service) -> None:
    sound = service.settings.config.read_text()
    service.settings.config.write_text("[gateway]\ninterfaces = 7\n")
    journal = service.machine.cursor()
    assert service.try_to("start").status != 0
    assert service.show("SubState") == "failed", "it is not tried again"
    said = service.machine.journal(UNIT, journal).splitlines()
    # By what was to start; what clears the kernel afterwards needs the table's name.
    (told,) = (line for line in said if line.startswith("vpngate: "))
    assert "gateway.interfaces" in told
    service.settings.config.write_text(sound)
    service.control("start")
    assert service.restarts() == 0


def test_a_registry_that_cannot_be_had_or_has_expired(service: Service) -> None:
    """Neither prevents a start, once there is a last good one."""
    service.control("start")
    prefixes = service.daemon.metric("vpngate_registry_prefixes")
    service.control("stop")
    expired = service.settings.folder / "registry.json"
    row = {"prefix": "203.0.113.0/24", "registration": "R-1"}
    page = {"registry": "r", "serial": 1, "expires": "2020-01-01T00:00:00Z"}
    expired.write_text(json.dumps({**page, "registrations": [row]}))
    for source in ("nowhere.csv", expired.name):
        service.settings.change(registry={"sources": [f"/etc/vpngate/{source}"]})
        service.control("start")
        assert service.daemon.metric("vpngate_registry_prefixes") == prefixes
        assert service.daemon.ask("status")["registry"]["last_refusal"]
        service.control("stop")


def test_a_first_registry_that_comes_later(service: Service) -> None:
    """Without any there is nothing to start with; systemd tries again."""
    registry = service.settings.registry.read_text()
    service.settings.registry.unlink()
    assert service.try_to("start").status != 0
    service.settings.registry.write_text(registry)
    eventually(service.is_up, "a daemon")
    assert service.restarts() >= 1


def test_a_mirror_port(lab: Lab, service: Service) -> None:
    """Packet sockets and no other privilege, and only with the drop-in."""
    service.settings.change(
        gateway={"mode": "observe", "interfaces": ["lan0"]},
        capture={"source": "mirror"},
    )
    journal = service.machine.cursor()
    assert service.try_to("start").status != 0
    assert "CAP_NET_RAW" in service.machine.journal(UNIT, journal)
    service.control("stop")
    service.drop_in("mirror.conf")
    service.control("start")
    process = service.process()
    assert {int(process[name], 16) for name in _CAPABILITIES} == {_NET_RAW}
    with wireguard.tunnel(lab.client, lab.stranger):
        service.daemon.wait_for_flow("wireguard", "throttle")
    assert "vpngate" not in tables(lab)


def test_ended_by_a_signal_that_is_no_stop(service: Service) -> None:
    service.control("start")
    service.control("kill", f"--signal={signal.SIGSEGV.name}")
    eventually(lambda: service.restarts() == 1 and service.is_up(), "a new daemon")
