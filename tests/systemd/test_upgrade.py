# SPDX-License-Identifier: GPL-2.0-or-later
"""Another version of the package while the service runs, and dpkg cut off on its way.

What runs while files are replaced is the old daemon, and what it slows or spares is
seen by the tunnels of the lab.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.lab import load, wireguard
from tests.lab.namespaces import wait_until
from tests.lab.systemd import Machine, eventually
from tests.lab.topology import UNREGISTERED, Lab
from tests.systemd.desk import INSTALLING, NEWER, PACKAGE, UPGRADE, make_newer
from tests.systemd.service import UNIT, Service

pytestmark = pytest.mark.timeout(1800)  # seconds, on a busy machine

_FILES = "/usr/lib/vpngate"
_AWAY = "/usr/lib/vpngate.away"
_CONFIG = "/etc/vpngate/vpngate.toml"
_DPKG = "upgrade.service"
_KEEPING = UPGRADE[:-1]
_SLOW = 0.2e6  # bit/s, less than anything would hold up
_RELOADED = "vpngate_config_last_reload_success_timestamp_seconds"
_PAGES = ("/", "/status.json", "/report.json", "/check", "/metrics", "/healthz")


@pytest.fixture(scope="module")
def newer(bare: Machine, tmp_path_factory: pytest.TempPathFactory) -> None:
    make_newer(bare, tmp_path_factory.mktemp("newer"))


@pytest.fixture
def service(newer: None, bare: Machine) -> Iterator[Service]:
    """The older package, set to enforce; the newer one lies beside it."""
    del newer
    bare.run(*UPGRADE, PACKAGE, timeout=INSTALLING)
    installed = Service(bare)
    installed.reset()
    yield installed
    bare.attempt("systemctl", "stop", _DPKG)
    installed.reset()


def cut_off(machine: Machine, begun: Callable[[], bool], *command: str) -> None:
    """A command, and all that it has started, killed as soon as something has begun."""
    machine.run("systemd-run", f"--unit={_DPKG}", "--collect", *command)
    wait_until(begun, f"what is to be cut off: {command}", INSTALLING)
    machine.run("systemctl", "kill", "--signal=KILL", _DPKG)
    eventually(lambda: machine.show(_DPKG, "ActiveState") == "inactive", "its end")


def test_tunnels_go_on_while_it_is_upgraded(lab: Lab, service: Service) -> None:
    """Neither loses a packet: not the registered one, not the one that is slowed."""
    machine, daemon = service.machine, service.daemon
    service.control("start")
    with (
        wireguard.tunnel(lab.neighbour, lab.member) as registered,
        wireguard.tunnel(lab.client, lab.stranger) as other,
    ):
        daemon.wait_for_flow("wireguard", "allow")
        daemon.wait_until(lambda: service.throttled() == 1, "the verdict")
        before = service.show("MainPID")
        with (
            load.stream(registered.client, registered.server, rate=_SLOW) as spared,
            load.stream(other.client, other.server, rate=_SLOW) as slowed,
        ):
            machine.run(*UPGRADE, NEWER, timeout=INSTALLING)
            arrived = [spared.stop(), slowed.stop()]
        assert service.show("MainPID") != before
        assert all(each.received for each in arrived)
        assert [each.lost for each in arrived] == [0, 0]
        assert service.show("StatusText").startswith("enforce on ")
        other.shake_hands()
        daemon.wait_until(lambda: service.throttled() == 1, "the verdict")
    assert lab.gateway.run("nft", "list", "tables").count("vpngate") == 1


def test_the_daemon_needs_none_of_its_files(lab: Lab, service: Service) -> None:
    """While they are replaced, and where it goes on with a newer version's there."""
    machine, daemon = service.machine, service.daemon
    service.control("start")
    process = service.show("MainPID")
    journal = machine.cursor()
    machine.run("mv", _FILES, _AWAY)
    try:
        with wireguard.tunnel(lab.client, lab.stranger):
            daemon.wait_until(lambda: service.throttled() == 1, "the verdict")
            daemon.ask("observe")
            daemon.wait_until(lambda: service.throttled() == 0, "nobody slowed")
            daemon.ask("enforce")
            daemon.wait_until(lambda: service.throttled() == 1, "the verdict again")
            for verb in ("status", "report", "counters", "preview"):
                daemon.ask(verb)
            daemon.ask("lookup", asked=["198.51.100.10"])
            daemon.ask("expiring", within=86400.0)
            for page in _PAGES:
                assert daemon.fetch(page)[0] == 200, page
            service.settings.register(*UNREGISTERED)
            sources = ["https://127.0.0.1:9/r.json", "/etc/vpngate/registry.csv"]
            web = {"sources": sources, "allow_unsigned": True}
            service.settings.change(registry=web)
            before = daemon.metric(_RELOADED)
            service.control("kill", "--signal=HUP")
            daemon.wait_until(lambda: daemon.metric(_RELOADED) > before, "a reload")
            daemon.wait_until(lambda: service.throttled() == 0, "it is registered")
        service.settings.config.write_text("[gateway]\ninterfaces = 7\n")
        service.control("kill", "--signal=HUP")
        taken = "vpngate_config_last_reload_successful"
        daemon.wait_until(lambda: daemon.metric(taken) == 0, "a reload that is refused")
        assert service.show("MainPID") == process
    finally:
        machine.run("mv", _AWAY, _FILES)
    said = machine.journal(UNIT, journal)
    assert "No module" not in said, said
    assert "Traceback" not in said, said


def test_dpkg_cut_off(service: Service) -> None:
    """The old daemon goes on, and each time dpkg takes up what is left to do."""
    machine, daemon = service.machine, service.daemon
    config = machine.path(_CONFIG)
    service.control("start")
    process = service.show("MainPID")

    def goes_on() -> None:
        assert service.show("MainPID") == process
        assert daemon.ask("status")["kernel"] == {"armed": True, "in_sync": True}

    # Unpacking: beside each file lies the new one.
    unpacking = machine.path("/etc/vpngate/registry.csv.dpkg-new")
    cut_off(machine, unpacking.exists, *UPGRADE, NEWER)
    goes_on()
    assert "vpngate" in machine.run("dpkg", "--audit")

    # Nobody there to say whose configuration is to stay.
    asked = machine.attempt("dpkg", "-i", NEWER, timeout=INSTALLING)
    assert asked.status != 0
    assert "conffile prompt" in asked.stderr
    goes_on()
    kept = config.read_text()

    # Setting up: compiling.
    site = machine.path(f"{_FILES}/lib")
    compiled = "python3.*/site-packages/*/__pycache__"
    configure = (*_KEEPING, "--configure", "-a")
    cut_off(machine, lambda: any(site.glob(compiled)), *configure)
    goes_on()
    machine.run(*configure, timeout=INSTALLING)
    assert machine.run("dpkg", "--audit") == ""
    machine.run("dpkg", "--verify", "--verify-format=rpm", "vpngate")
    assert "-99~" in machine.run("dpkg-query", "-W", "vpngate")
    assert config.read_text() == kept
    assert service.show("MainPID") != process
    assert service.is_up()


def test_back_to_the_older_one(service: Service) -> None:
    """Stance and configuration stay, though a later version has written them."""
    machine = service.machine
    service.settings.change(gateway={"mode": "observe"})
    service.control("start")
    machine.run("vpngate", "enforce", "--share", "5")
    machine.run(*UPGRADE, NEWER, timeout=INSTALLING)
    kept = service.settings.config.read_text()
    machine.run(*UPGRADE, PACKAGE, timeout=INSTALLING)
    assert "-99~" not in machine.run("dpkg-query", "-W", "vpngate")
    assert service.settings.config.read_text() == kept
    status = service.daemon.ask("status")
    assert (status["mode"], status["enforced_share"]) == ("enforce", 5)


def test_a_service_that_failed_has_another_chance(service: Service) -> None:
    """Where it is enabled; one that somebody has stopped stays so."""
    machine, config = service.machine, service.settings.config
    postinst = ("/var/lib/dpkg/info/vpngate.postinst", "configure")
    machine.run("systemctl", "enable", UNIT)
    sound = config.read_text()
    config.write_text("[gateway]\ninterfaces = 7\n")
    assert service.try_to("start").status != 0
    machine.run(*postinst, timeout=INSTALLING)
    assert service.show("ActiveState") == "failed"
    config.write_text(sound)
    machine.run(*postinst, timeout=INSTALLING)
    assert service.is_up()
    service.control("stop")
    machine.run(*postinst, timeout=INSTALLING)
    assert not service.is_up()
    service.control("disable")
