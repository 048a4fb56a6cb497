# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon that is attacked: its starts and ends, its log, its size, its stance.

Knows how it is started with a clock that can be moved and a state folder that can be
full, and what its stance has to be after what was done to it; does not know faults.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.campaign.judge import Size
from tests.campaign.publisher import SENTINEL, Publisher
from tests.lab.daemon import PYTHON, Daemon, Settings
from tests.lab.namespaces import PATIENCE, Namespace, Process
from vpngate.config import Mode
from vpngate.daemon.outside.client import request
from vpngate.daemon.wall_clock import read_machine
from vpngate.errors import VpngateError
from vpngate.stance import (
    Configured,
    Denied,
    Restart,
    StanceEvent,
    first_stance,
    next_stance,
    passed,
)
from vpngate.timekeeping.clock import Reading

DEADMAN = 10.0  # seconds, the shortest there is
RATE = 512e3  # bit/s, the lowest there is
_LIBRARIES = "usr/lib/*-linux-gnu/faketime/libfaketimeMT.so.1"
_STATE_BYTES = "2m"  # of the file system that the state folder is
_PAGE = os.sysconf("SC_PAGE_SIZE")


def _settings(folder: Path) -> Settings:
    settings = Settings(folder)
    (folder / "state").mkdir()
    settings.change(
        gateway={
            "interfaces": ["lan*"],
            "mode": "enforce",
            "deadman": f"{DEADMAN:.0f}s",
        },
        throttle={"rate": f"{RATE / 1e3:.0f}kbit"},
    )
    return settings


class Subject:
    """The daemon, running or not. `state` is its state folder as others see it."""

    def __init__(
        self, namespace: Namespace, settings: Settings, keeper: Process
    ) -> None:
        self.namespace = namespace
        self.settings = settings
        self.publisher = Publisher(settings.folder / "registry.json")
        settings.change(
            registry={
                "sources": [str(self.publisher.file)],
                "public_key": self.publisher.signer.public,
                "sentinels": [SENTINEL],
            }
        )
        self.shift = settings.folder / "shift"
        self.shift.write_text("+0d\n")
        self.stance = first_stance(Mode.ENFORCE, 100)
        self.daemon: Daemon | None = None
        self.starts = 0
        self.with_clock = False  # of the next start; it can be moved then
        self._keeper = keeper
        self._heard = 0  # bytes of the log that have been read
        self._unread = ""  # of daemons before this one

    @classmethod
    @contextlib.contextmanager
    def prepared(cls, namespace: Namespace, folder: Path) -> "Iterator[Subject]":
        """Everything but the daemon; at the end of the block none is left."""
        settings = _settings(folder)
        mounts = f"mount -t tmpfs -o size={_STATE_BYTES} tmpfs {folder / 'state'}"
        keep = ("sh", "-c", "echo mounted; exec sleep infinity")
        with namespace.running(*keep, mounts=mounts) as keeper:
            keeper.expect("mounted")
            made = cls(namespace, settings, keeper)
            try:
                yield made
            finally:
                made.end()

    @property
    def state(self) -> Path:
        return Path(f"/proc/{self._keeper.pid}/root{self.settings.folder / 'state'}")

    def _program(self) -> tuple[str, ...]:
        """With the keeper's mounts, and a clock of its own where that is to be had."""
        clock: tuple[str, ...] = ()
        libraries = sorted(map(str, Path("/").glob(_LIBRARIES)))
        if libraries and self.with_clock:
            clock = (
                f"LD_PRELOAD={libraries[0]}",
                f"FAKETIME_TIMESTAMP_FILE={self.shift}",
                "FAKETIME_CACHE_DURATION=1",
                "FAKETIME_DONT_FAKE_MONOTONIC=1",
                "NO_FAKE_STAT=1",
            )
        env, path, python = PYTHON
        return (
            *("nsenter", f"--mount=/proc/{self._keeper.pid}/ns/mnt", "--"),
            *(env, path, *clock, python, "-m", "tests.campaign.entry"),
        )

    @property
    def files(self) -> tuple[str, ...]:
        """The options that every start has."""
        settings = self.settings
        return ("--config", str(settings.config), "--socket", str(settings.socket))

    def begin(self) -> Process:
        """A start; returns before the daemon is ready."""
        if self.daemon is not None:
            self._unread += self._new()
        process = self.namespace.start(*self._program(), *self.files)
        self.daemon = Daemon(self.namespace, self.settings, process)
        self.starts += 1
        self._heard = 0
        self.follows(Restart())
        return process

    def another(self) -> Process:
        """A second daemon with the same files; whoever calls has to stop it."""
        return self.namespace.start(*self._program(), *self.files)

    def start(self) -> None:
        """A start; returns when the daemon answers. LabError if it ends instead."""
        self.begin()
        self.running.wait_until_ready()
        self.first = self.size()

    @property
    def running(self) -> Daemon:
        assert self.daemon is not None
        return self.daemon

    @property
    def process(self) -> Process:
        return self.running.process

    @property
    def is_up(self) -> bool:
        return self.daemon is not None and self.process.exit_status is None

    def kill(self) -> None:
        """As nothing can be caught; returns when it is gone."""
        self.process.send(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        if self.is_up:
            self.process.stop()

    def status(self) -> dict[str, Any] | None:
        """What it says of itself, None where it does not answer."""
        if not self.is_up:
            return None
        try:
            answer: dict[str, Any] = request(self.settings.socket, "status")
        except VpngateError:
            return None
        return answer

    def order(self, verb: str, *, within: float = PATIENCE, **arguments: Any) -> Any:
        """The answer to a verb, within seconds; raises what the client does."""
        return request(self.settings.socket, verb, arguments, timeout=within)

    def follows(self, event: StanceEvent, at: Reading | None = None) -> None:
        """Something was done that its stance has to follow, now or at an instant."""
        following = next_stance(self.stance, event, at or read_machine())
        if not isinstance(following, Denied):
            self.stance = following

    def configure(self, mode: Mode) -> None:
        """Another mode in the file, which counts once it is loaded."""
        self.settings.change(gateway={"mode": mode.value})
        self.follows(Configured(mode, 100))

    def stance_told(self, status: dict[str, Any]) -> list[str]:
        """In what a status differs from the stance that there has to be."""
        self.stance = wanted = passed(self.stance, read_machine())
        told = status["stance"]
        expected = (wanted.mode.value, wanted.share, wanted.why.cause.value)
        cause = told["why"].partition(":")[0].partition(" (")[0]
        found = (told["mode"], told["share"], cause)
        return [] if found == expected else [f"stance {found}, not {expected}"]

    def said(self) -> str:
        """What was added to the logs since the last call."""
        new, self._unread = self._unread + self._new(), ""
        return new

    def _new(self) -> str:
        with self.process.log.open("rb") as file:
            file.seek(self._heard)
            content = file.read()
        self._heard += len(content)
        return content.decode(errors="replace")

    def size(self) -> Size:
        folder = Path(f"/proc/{self.process.pid}")
        resident = int((folder / "statm").read_text().split()[1]) * _PAGE
        return Size(
            resident / 1e6,
            sum(1 for _ in (folder / "fd").iterdir()),
            sum(1 for _ in (folder / "task").iterdir()),
        )
