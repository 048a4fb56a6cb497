# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine whose systemd runs as PID 1, on the lab's gateway.

Knows the roots that `make systemd` prepares and where it puts the packages, and how to
boot one, to run commands in it and to end it; does not know what is started there. Its
network is the gateway's, its kernel this machine's. What it writes is in memory and
gone with it.
"""

import contextlib
import logging
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lab.namespaces import PATIENCE, LabError, Namespace, Process, wait_until

_HERE = Path(__file__).parents[2]
_ROOTS = _HERE / ".foreign" / "systemd"
_BOOT = _HERE / "tests" / "systemd" / "boot"
_INIT = "systemd"  # what PID 1 calls itself once it is no shell script any more
_SYSTEM_BUS = "run/systemd/private"  # where systemctl finds PID 1

_PAUSE = 0.5  # seconds between two looks at a machine, each a program of its own

_log = logging.getLogger(__name__)


def releases() -> list[str]:
    """The releases that tests/systemd/releases.txt lists, oldest first."""
    lines = _BOOT.with_name("releases.txt").read_text().splitlines()
    return [line.split()[0] for line in lines if line and not line.startswith("#")]


def lacking(release: str) -> str:
    """Why it cannot be booted here; empty if it can."""
    if not root(release).is_dir():
        return f"needs {release} below .foreign/systemd: make systemd"
    return "" if packages(release) else "needs a package below dist: make package"


def root(release: str) -> Path:
    """The folder of its files, to read only."""
    return _ROOTS / release


def packages(release: str) -> list[Path]:
    """The packages of vpngate for a release, the newest last."""
    version = (root(release) / "etc" / "debian_version").read_text()
    number = version.partition(".")[0].strip()
    found = (_HERE / "dist").glob(f"vpngate_*~deb{number}_*.deb")
    return sorted(found, key=lambda path: path.stat().st_mtime)


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait for what takes seconds and is dear to ask; LabError if it never comes."""

    def look() -> bool:
        if condition():
            return True
        time.sleep(_PAUSE)
        return False

    wait_until(look, what)


class Machine:
    """A machine that has booted; `init` is its PID 1 as seen from outside.

    All that is run in it is logged, with what it said and the seconds it took.
    """

    def __init__(self, gateway: Namespace, process: Process, init: int) -> None:
        self.gateway = gateway
        self.process = process
        self._init = init
        self.root = Path(f"/proc/{init}/root")

    def path(self, inside: str) -> Path:
        """Where a file of the machine is, seen from here."""
        return self.root / inside.lstrip("/")

    def attempt(self, *argv: str, timeout: float = PATIENCE) -> Done:
        """Run a command as the machine's root, to the end."""
        begin = time.monotonic()
        done = subprocess.run(
            [
                *("nsenter", "--target", str(self._init)),
                *("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"),
                *("env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin"),
                *("LC_ALL=C.UTF-8", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER="),
                *argv,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        said = "".join(
            f"\n{text.rstrip()}" for text in (done.stdout, done.stderr) if text
        )
        took = time.monotonic() - begin
        what = shlex.join(argv)
        _log.info("# %s (%d, %.1f s)%s", what, done.returncode, took, said)
        return Done(done.returncode, done.stdout, done.stderr)

    def run(self, *argv: str, timeout: float = PATIENCE) -> str:
        """The same; LabError with what it said if it fails."""
        done = self.attempt(*argv, timeout=timeout)
        if done.status != 0:
            said = f"{done.stdout}{done.stderr}".strip()
            raise LabError(f"{' '.join(argv)}: status {done.status}: {said}")
        return done.stdout

    def shell(self, line: str) -> str:
        """A line as a person would type it."""
        return self.run("sh", "-c", line)

    def show(self, unit: str, name: str) -> str:
        """A property of a unit (systemctl show)."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()

    def journal(self, unit: str, since: str = "") -> str:
        """What the journal has of a unit, the text alone.

        `since` is a cursor that `cursor` gave.
        """
        self.run("journalctl", "--sync")
        after = (f"--after-cursor={since}",) if since else ()
        return self.run("journalctl", "-u", unit, "-o", "cat", *after)

    def cursor(self) -> str:
        """Where the journal stands."""
        self.run("journalctl", "--sync")
        last = self.run("journalctl", "-n", "0", "--show-cursor")
        return last.partition("cursor: ")[2].strip()


def _cgroup2() -> Path:
    """Where cgroup2 is mounted here."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            return Path(mount.split()[4])
    raise LabError("no cgroup2 is mounted here")


@contextlib.contextmanager
def _cgroup(name: str) -> Iterator[Path]:
    """A group of processes for the length of a with block."""
    folder = _cgroup2() / f"vpngate-{os.getpid()}-{name}"
    folder.mkdir()
    try:
        yield folder
    finally:
        # Those that end take a moment to leave.
        wait_until(lambda: _emptied(folder), f"nobody in {folder}")


def _emptied(folder: Path) -> bool:
    for each, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            Path(each).rmdir()
    return not folder.exists()


def _child_of(process: Process) -> int | None:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    with contextlib.suppress(OSError, IndexError):
        return int(children.read_text().split()[0])
    return None


@contextlib.contextmanager
def boot(release: str, gateway: Namespace) -> Iterator[Machine]:
    """A release's systemd, up, for the length of a with block."""
    with _cgroup(release) as group:
        process = gateway.start(str(_BOOT), str(root(release)), group.name)
        try:
            yield _booted(gateway, process)
        finally:
            init = _child_of(process)
            with contextlib.suppress(ProcessLookupError):
                # The rest dies with it. It does not listen to anything milder.
                os.kill(init or process.pid, signal.SIGKILL)
            process.wait()


def _booted(gateway: Namespace, process: Process) -> Machine:
    def answers() -> bool:
        if process.exit_status is not None:
            raise LabError(f"systemd ended:\n{process.tail()}")
        init = Path("/proc", str(_child_of(process)))
        with contextlib.suppress(OSError):
            # Before that, the root of this process is the root of this machine.
            booting = (init / "comm").read_text().strip() == _INIT
            return booting and (init / "root" / _SYSTEM_BUS).exists()
        return False

    wait_until(answers, "systemd's first answer")
    init = _child_of(process)
    if init is None:
        raise LabError(f"systemd ended:\n{process.tail()}")
    machine = Machine(gateway, process, init)
    target = ("systemctl", "is-active", "multi-user.target")
    eventually(lambda: machine.attempt(*target).status == 0, "a machine that is up")
    return machine
