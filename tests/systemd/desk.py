# SPDX-License-Identifier: GPL-2.0-or-later
"""Somebody at a gateway who types what a document shows, and what is set up for him.

Knows how a machine gets into the state that a section presumes; does not know the
documents.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from tests.documents import Block, missing
from tests.lab import wireguard
from tests.lab.capture import capturing
from tests.lab.systemd import Machine, eventually
from tests.lab.topology import Lab
from tests.lab.wireguard import WireGuard
from tests.systemd.service import UNIT, Service
from vpngate.stance import Halt, HaltReason, Stance, next_stance, of_text, to_text
from vpngate.timekeeping.clock import Reading

PLACE = "/srv/desk"  # where the lines are typed
PACKAGE = "/srv/vpngate.deb"
NEWER = "/srv/newer.deb"
NEWER_REVISION = "-99"
# As unattended upgrades are run: a file that the operator has changed is his.
UPGRADE = ("dpkg", "--force-confdef", "--force-confold", "-i")
INSTALLING = 900.0  # seconds, of which a third is compiling
# As documents name it, for the older of the two releases.
FILE = "vpngate_0.1.0-1~deb12_amd64.deb"
NEWER_FILE = "vpngate_0.1.0-99~deb12_amd64.deb"
_DEB = re.compile(r"~deb\d+")
_STANCE = "/var/lib/vpngate/stance.json"
_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
_SEEN = r'vpngate_flows_total\{[^}]*tunnel="wireguard",verdict="throttle"\} [1-9]'


class Desk:
    """A gateway and its lab, for as long as `stay` lasts."""

    def __init__(self, machine: Machine, lab: Lab, stay: ExitStack) -> None:
        self.machine = machine
        self._lab = lab
        self._stay = stay
        self._service: Service | None = None
        # What happens before a line that begins so is typed.
        self.before: dict[str, Callable[[], object]] = {}

    @property
    def service(self) -> Service:
        """The service, set to enforce when it is first asked for; it does not run."""
        if self._service is None:
            self._service = Service(self.machine)
        return self._service

    def clear(self, *, bare: bool) -> None:
        """Nothing runs; vpngate is installed with nobody's settings, or not at all."""
        machine = self.machine
        installed = machine.attempt("dpkg-query", "-W", "vpngate").stdout
        if bare and installed:
            machine.run("dpkg", "-P", "vpngate", timeout=INSTALLING)
            machine.run("rm", "-rf", "/etc/vpngate")
        elif not bare and (not installed or NEWER_REVISION in installed):
            machine.run("dpkg", "-i", PACKAGE, timeout=INSTALLING)
        machine.run("rm", "-rf", f"/etc/systemd/system/{UNIT}.d", PLACE)
        machine.path(PLACE).mkdir()
        if not bare:
            self.service.reset()

    def put(self, package: str = PACKAGE, name: str = FILE) -> None:
        """A package's file where the lines are typed, and beside it another release's.

        That one cannot be installed: whoever takes both fails.
        """
        place = self.machine.path(PLACE)
        shutil.copy(self.machine.path(package), place / self._here(name))
        (place / _DEB.sub("~deb99", name)).write_text("of another release\n")

    def _here(self, text: str) -> str:
        """The same for the machine's own release of Debian, as a reader of it would."""
        version = self.machine.path("/etc/debian_version").read_text()
        return _DEB.sub(f"~deb{version.partition('.')[0].strip()}", text)

    def capture(self, scratch: Path) -> None:
        """A capture of a handshake where the lines are typed."""
        made = scratch / "capture.pcap"
        with capturing(self._lab.gateway, made), self._tunnel():
            pass
        shutil.copy(made, self.machine.path(f"{PLACE}/capture.pcap"))

    def observe(self) -> None:
        """It runs, and observes."""
        self.service.settings.change(gateway={"mode": "observe"})
        self.service.control("start")

    def enforce(self) -> None:
        """It runs, and slows an unregistered tunnel that is up."""
        self.service.control("start")
        self._stay.enter_context(self._tunnel())
        self.service.daemon.wait_until(
            lambda: self.service.throttled() == 1, "the verdict"
        )

    def halt(self) -> None:
        """It halted: what is kept of its stance says so."""
        self.enforce()
        self.service.control("stop")
        kept = self.machine.path(_STANCE)
        halted = next_stance(
            of_text(kept.read_text()),
            Halt(HaltReason.THROTTLED_SHARE, "41% of all traffic in ten minutes"),
            Reading(1_790_000_000.0, 1000.0, "another"),
        )
        assert isinstance(halted, Stance)
        kept.write_text(to_text(halted))
        self.service.control("start")

    def be_seen(self) -> None:
        """A tunnel that whoever listens has judged."""
        self._stay.enter_context(self._tunnel())
        asked = "curl -s http://127.0.0.1:9753/metrics"

        def judged() -> bool:
            done = self.machine.attempt("sh", "-c", asked)
            return bool(re.search(_SEEN, done.stdout))

        eventually(judged, "a verdict on what the mirror port shows")

    def type(self, block: Block) -> None:
        """All lines of a block; AssertionError where one ends or prints otherwise."""
        for typed in block.typed():
            for start, do in self.before.items():
                if typed.line.startswith(start):
                    do()
            done = self.machine.attempt(
                *(() if typed.as_root else _NOBODY),
                *("sh", "-c", f"cd {PLACE} && {self._here(typed.line)}"),
                timeout=INSTALLING,
            )
            said = f"{typed.line}\n{done.stdout}{done.stderr}"
            assert done.status == typed.status, said
            lacks = missing(typed.shown, done.stdout)
            assert not lacks, f"{lacks!r} is not in what was printed: {said}"

    def _tunnel(self) -> AbstractContextManager[WireGuard]:
        return wireguard.tunnel(self._lab.client, self._lab.stranger)


def make_newer(machine: Machine, scratch: Path) -> None:
    """The same package with a later version and another default, beside it."""
    tree = scratch / "tree"
    unpack = ("dpkg-deb", "--raw-extract", str(machine.path(PACKAGE)), str(tree))
    subprocess.run(unpack, check=True)
    control = tree / "DEBIAN" / "control"
    later = rf"\1{NEWER_REVISION}~"
    version = re.sub(r"(?m)^(Version: .*)-\d+~", later, control.read_text())
    control.write_text(version)
    shipped = tree / "etc" / "vpngate" / "vpngate.toml"
    shipped.write_text(f"# of a later version\n{shipped.read_text()}")
    pack = ("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(tree))
    subprocess.run((*pack, str(machine.path(NEWER))), check=True)
