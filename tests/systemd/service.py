# SPDX-License-Identifier: GPL-2.0-or-later
"""The installed service of a machine: its files, its state, and what systemd says.

Knows where the unit has things; does not know what a test wants of it.
"""

import shutil
import tomllib
from collections.abc import Mapping
from typing import Any

from tests.lab.daemon import SHIPPED, Daemon, Settings
from tests.lab.namespaces import LabError
from tests.lab.systemd import Done, Machine

UNIT = "vpngate.service"
COMMAND = "/usr/bin/vpngate"
DROP_INS = "/usr/share/vpngate/systemd"
_DROP_INS = f"/etc/systemd/system/{UNIT}.d"


class Installed(Settings):
    """The files at the places where the shipped configuration has them."""

    def __init__(self, machine: Machine) -> None:
        self.folder = machine.path("/etc/vpngate")
        self.config = self.folder / "vpngate.toml"
        self.registry = self.folder / "registry.csv"
        self.socket = machine.path("/run/vpngate/control.sock")
        self._sections: dict[str, dict[str, Any]] = tomllib.loads(
            (SHIPPED / "vpngate.toml").read_text()
        )
        shutil.copy(SHIPPED / "registry.csv", self.registry)
        self.change(gateway={"interfaces": ["lan*"], "mode": "enforce"})


class Service:
    """What an operator does with it, and what he sees."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.settings = Installed(machine)
        self.daemon = Daemon(machine.gateway, self.settings, machine.process)

    def reset(self) -> None:
        """Stopped, and as after the installation."""
        self.control("stop")
        self.machine.shell(f"rm -rf {_DROP_INS} /var/lib/vpngate/*")
        self.machine.run("systemctl", "daemon-reload")
        self.machine.attempt("systemctl", "reset-failed", UNIT)
        self.settings = self.daemon.settings = Installed(self.machine)

    def drop_in(self, name: str) -> None:
        """One of the drop-ins that come with the package, as its own text says."""
        shipped = f"{DROP_INS}/{name}"
        self.machine.run("install", "-D", "-m", "644", "-t", _DROP_INS, shipped)
        self.machine.run("systemctl", "daemon-reload")

    def control(self, verb: str, *words: str) -> None:
        """A verb of systemctl; LabError with the journal's end if it fails."""
        try:
            self.machine.run("systemctl", verb, *words, UNIT)
        except LabError as error:
            said = self.machine.journal(UNIT).splitlines()[-20:]
            raise LabError("\n".join((str(error), *said))) from None

    def try_to(self, verb: str) -> Done:
        """The same where it may fail."""
        return self.machine.attempt("systemctl", verb, UNIT)

    def show(self, name: str) -> str:
        """A property of the unit."""
        return self.machine.show(UNIT, name)

    def process(self) -> Mapping[str, str]:
        """/proc/PID/status of the daemon, by field."""
        text = self.machine.run("cat", f"/proc/{self.show('MainPID')}/status")
        pairs = (line.partition(":") for line in text.splitlines())
        return {name: value.strip() for name, _, value in pairs}

    def restarts(self) -> int:
        """How often systemd has started it anew."""
        return int(self.show("NRestarts"))

    def is_up(self) -> bool:
        return self.show("ActiveState") == "active"

    def throttled(self) -> float:
        """Flows that are slowed now."""
        return self.daemon.metric("vpngate_throttled_flows")
