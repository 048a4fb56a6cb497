# SPDX-License-Identifier: GPL-2.0-or-later
"""Network namespaces that vanish with the process that made them.

Knows how to make one, how to run programs in it and how to end them; does not know
what is built from namespaces. A namespace here has no name on the machine: it is
held open by a file descriptor, its programs die with their parent. So nothing
stays behind, not even when the test run is killed with SIGKILL.
"""

import contextlib
import ctypes
import json
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_MS_REC, _MS_PRIVATE = 1 << 14, 1 << 18
# Seconds to wait for what is over in one on an idle machine: an event that never
# comes fails a test later, one that comes late on a busy machine does not. A kernel
# that is emulated asks for more of it.
PATIENCE = float(os.environ.get("VPNGATE_PATIENCE", "180"))
_STOP_TIMEOUT = 20.0  # seconds between asking a program to end and killing it
# Seconds between two looks at what is waited for: soon at first, and seldomer the
# longer it takes. To look costs both ends a processor that others wait for.
_SOON, _SELDOM = 0.02, 0.2
_SELDOMER = 1.25

# A program sees /sys of its own namespace, as `ip netns exec` arranges it.
_MOUNTS = "mount -t sysfs sysfs /sys"
# These look at nothing in /sys, are over at once, and are called the most: they are run
# from a thread in the namespace, without the four programs that arrange it.
_WITHOUT_SYS = frozenset({"ethtool", "ip", "nft", "tc", "wg"})

_libc = ctypes.CDLL(None, use_errno=True)
_Result = TypeVar("_Result")


class LabError(Exception):
    """The lab itself failed: a program it needs is missing, ended or kept silent."""


def wait_until(
    condition: Callable[[], bool], what: str, timeout: float = PATIENCE
) -> None:
    """Wait for `condition`; LabError if it does not come true in `timeout` seconds."""
    for _ in _looks(timeout):
        if condition():
            return
    raise LabError(f"{what}: not within {timeout:.0f} s")


def _looks(timeout: float) -> Iterator[None]:
    """Yields when to look, for `timeout` seconds and a last time after that."""
    deadline, pause = time.monotonic() + timeout, _SOON
    while time.monotonic() <= deadline:
        yield
        time.sleep(pause)
        pause = min(pause * _SELDOMER, _SELDOM)
    yield


def _checked(status: int, call: str) -> None:
    if status != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{call}: {os.strerror(error)}")


def _mount_sys() -> None:
    """Have this thread, and nobody else, see /sys of the namespace that it is in."""
    _checked(_libc.unshare(_CLONE_NEWNS), "unshare")
    private = ctypes.c_ulong(_MS_REC | _MS_PRIVATE)
    _checked(_libc.mount(b"none", b"/", None, private, None), "mount")
    _checked(_libc.mount(b"sysfs", b"/sys", b"sysfs", 0, None), "mount")


def _in_thread(function: Callable[[], _Result]) -> _Result:
    """Run in a thread of its own: setns and unshare change one thread only."""
    outcome: list[_Result] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            outcome.append(function())
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            failure.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


class Process:
    """A running program, its output in a file."""

    def __init__(self, popen: subprocess.Popen[bytes], name: str, log: Path) -> None:
        self._popen = popen
        self.name = name
        self.log = log

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._popen.poll()

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def tail(self, lines: int = 20) -> str:
        """The end of the output."""
        return "\n".join(self.output().splitlines()[-lines:])

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """The exit status; LabError if it still runs after `timeout` seconds."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} still runs after {timeout} s") from None

    def expect(self, text: str, timeout: float = PATIENCE) -> None:
        """Wait until the output contains `text`; LabError if it never does."""
        for _ in _looks(timeout):
            if text in self.output():
                return
            if self.exit_status is not None and text not in self.output():
                raise LabError(f"{self.name} ended:\n{self.tail()}")
        raise LabError(f"{self.name} never said {text!r}:\n{self.tail()}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it: ask, wait, then kill. Returns the exit status."""
        if self.exit_status is None:
            self.send(number)
            self.send(signal.SIGCONT)
        try:
            return self._popen.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            return self._popen.wait()


class Namespace:
    """A network namespace; `name` only appears in messages and log files."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self._fd = _in_thread(self._create)
        self._started = 0

    @staticmethod
    def _create() -> int:
        _checked(_libc.unshare(_CLONE_NEWNET), "unshare")
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    @property
    def path(self) -> str:
        """Where other programs find the namespace while this process lives."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def close(self) -> None:
        """Let go of it; the kernel removes it with its last program."""
        os.close(self._fd)

    def command(self, argv: tuple[str, ...], mounts: str = "") -> list[str]:
        """`argv` as a command line that runs inside, under the same process id.

        `mounts` are shell commands run before it in a mount namespace of its own.
        """
        script = f'{_MOUNTS} && {mounts or ":"} && exec "$@"'
        return [
            *("setpriv", "--pdeathsig", "KILL"),
            *("nsenter", f"--net={self.path}"),
            *("unshare", "--mount", "--propagation", "private"),
            *("sh", "-c", script, "sh"),
            *argv,
        ]

    def run(
        self,
        *argv: str,
        timeout: float = PATIENCE,
        stdin: str = "",
        check: bool = True,
        mounts: str = "",
    ) -> str:
        """Run to the end, return stdout; LabError with its stderr if it fails."""
        plain = argv[0] in _WITHOUT_SYS and not mounts

        def run() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                argv if plain else self.command(argv, mounts),
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )

        done = self.call(run) if plain else run()
        if check and done.returncode != 0:
            raise LabError(f"{self.name}: {shlex.join(argv)}: {done.stderr.strip()}")
        return done.stdout

    def ip(self, *lines: str) -> None:
        """Run several lines of ip(8) in one batch."""
        self.run("ip", "-batch", "-", stdin="\n".join(lines) + "\n")

    def start(self, *argv: str, mounts: str = "") -> Process:
        """Start in the background; the caller has to `stop` it (see `running`)."""
        self._started += 1
        program = Path(argv[0]).name
        log = self.folder / f"{self.name}-{self._started}-{program}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                self.command(argv, mounts),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return Process(popen, f"{program} in {self.name}", log)

    @contextlib.contextmanager
    def running(self, *argv: str, mounts: str = "") -> Iterator[Process]:
        """A program for the length of a with block."""
        process = self.start(*argv, mounts=mounts)
        try:
            yield process
        finally:
            process.stop()

    def call(
        self, function: Callable[[], _Result], *, with_sys: bool = False
    ) -> _Result:
        """Run a Python function inside; sockets it opens belong to the namespace.

        `with_sys`: so does what it sees in /sys, as programs of `command` do.
        """

        def inside() -> _Result:
            _checked(_libc.setns(self._fd, _CLONE_NEWNET), "setns")
            if with_sys:
                _mount_sys()
            return function()

        return _in_thread(inside)

    def sysctl(self, key: str, value: int) -> None:
        """Set a kernel parameter of this namespace, `net.ipv4.ip_forward` say."""
        path = Path("/proc/sys", *key.split("."))
        self.call(lambda: path.write_text(f"{value}\n"))


def settle(*namespaces: Namespace) -> None:
    """Wait until every interface that is up has its own link-local IPv6 address.

    The kernel gives it when it notices the carrier, a second late on a busy machine:
    until then what comes from such an address lives nowhere, and the gateway's own
    addresses are still about to change.
    """

    def lacks(interface: dict[str, Any]) -> bool:
        return "LOOPBACK" not in interface["flags"] and not any(
            address["scope"] == "link"
            for address in interface["addr_info"]
            if address["family"] == "inet6" and not address.get("tentative")
        )

    for namespace in namespaces:

        def settled(namespace: Namespace = namespace) -> bool:
            listed = json.loads(namespace.run("ip", "-json", "addr", "show", "up"))
            return not any(map(lacks, filter(None, listed)))

        wait_until(settled, f"{namespace.name}: a link-local address an interface")
