# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel announces of interfaces, and when: a control beside who watches.

Run as a program it says `ready`, and then of each datagram the moment at which it
had it, by the clock that never jumps, and its bytes. It is a process of its own so
that neither waits for the other. Knows one socket; does not know what matters.
"""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.lab.daemon import PYTHON
from tests.lab.namespaces import PATIENCE, Namespace, Process, wait_until
from tests.lab.scheduling import waited
from vpngate.kernel.wire.links import Announcement, Watcher, read_announcements

_PROGRAM = (*PYTHON, "-m", "tests.lab.announced")
_READY = "ready"
_GROUPS = 0x1 | 0x8  # RTMGRP_LINK, RTMGRP_TC
_LARGEST = 1 << 18
_OF_LOOPBACK, _ANOTHER = 65536, 60000  # bytes: its MTU, and one that marks


class Told(NamedTuple):
    """An announcement.

    when    moment at which it was known, by the clock that never jumps
    waited  seconds that the thread that told it had waited for a processor in its
            life, by the kernel's account; 0 of the control
    """

    when: float
    waited: float
    news: Announcement


Which = Callable[[Announcement], bool]


class Control:
    """Who is told of everything, and does nothing about it."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def told(self) -> list[Told]:
        """All so far."""
        *whole, _ = self._process.output().split("\n")
        said = [line.split() for line in whole if line != _READY]
        return [
            Told(float(when), 0.0, news)
            for when, datagram in said
            for news in read_announcements(bytes.fromhex(datagram))
        ]

    def first(self, which: Which) -> Told:
        """The first such news; waits for it."""
        wait_until(lambda: any(which(one.news) for one in self.told()), "the control")
        return next(one for one in self.told() if which(one.news))


@contextmanager
def control(namespace: Namespace) -> Iterator[Control]:
    """One in that namespace."""
    with namespace.running(*_PROGRAM) as process:
        process.expect(_READY)
        yield Control(process)


class Hearing:
    """What a watcher tells and what a control is told, from one moment on."""

    def __init__(self, watcher: Watcher, namespace: Namespace, beside: Control) -> None:
        self._watcher, self._namespace, self._beside = watcher, namespace, beside
        self._heard: list[Told] = []
        self._waited = 0.0

    def begin(self) -> int:
        """From now on: all that was told before has been heard by both.

        A mark is told last, by changes of loopback that nobody else makes. Returns how
        much the control was told before it, and since the last mark.
        """
        before = [_begin(those) for those in (self._heard, self._beside.told())]
        for mtu in (_ANOTHER, _OF_LOOPBACK):
            self._namespace.run("ip", "link", "set", "lo", "mtu", f"{mtu}")
        wait_until(lambda: _begin(self._heard) > before[0], "the mark")
        wait_until(
            lambda: _begin(self._beside.told()) > before[1], "the control's mark"
        )
        self._waited = waited(_thread(self._watcher))
        return _marks(self._beside.told()[before[1] :]).index(_ANOTHER)

    def lateness(self, which: Which) -> float:
        """Seconds from the first such news to the control to ours, which is the same.

        Without those for which the kernel had the watcher's thread wait.
        """
        wait_until(lambda: self.first(which) is not None, "word of it")
        wait_until(
            lambda: _first(self._beside.told(), which) is not None, "the control"
        )
        ours, control = self.first(which), _first(self._beside.told(), which)
        assert ours
        assert control
        assert ours.news == control.news
        return ours.when - control.when - (ours.waited - self._waited)

    def first(self, which: Which) -> Told | None:
        """The first such news that the watcher has told."""
        return _first(self._heard, which)

    def _listen(self, news: Announcement) -> None:
        when = time.monotonic()
        self._heard.append(Told(when, waited(_thread(self._watcher)), news))


@contextmanager
def hearing(watcher: Watcher, namespace: Namespace) -> Iterator[Hearing]:
    """A watcher of that namespace listened to, and a control beside it."""
    with control(namespace) as beside:
        both = Hearing(watcher, namespace, beside)
        watcher.tell(both._listen)
        try:
            both.begin()
            yield both
        finally:
            watcher.leave(both._listen)


def _marks(those: Sequence[Told]) -> list[int]:
    """The MTU of loopback, where it is told; 0 elsewhere."""
    links = (one.news.link for one in those)
    return [link.mtu if link and link.name == "lo" else 0 for link in links]


def _begin(those: Sequence[Told]) -> int:
    """Where what comes behind the last mark begins; 0 if there is none."""
    marks = _marks(those)
    if _ANOTHER not in marks or _OF_LOOPBACK not in marks[marks.index(_ANOTHER) :]:
        return 0
    return len(marks) - marks[::-1].index(_OF_LOOPBACK)


def _first(those: Sequence[Told], which: Which) -> Told | None:
    return next((one for one in those[_begin(those) :] if which(one.news)), None)


def times_asleep(watcher: Watcher) -> int:
    """How often its thread has gone to sleep, once it waits for the kernel's word."""
    where = _thread(watcher) / "wchan"
    wait_until(lambda: _is_for_word(where.read_text("ascii")), "the watcher's sleep")
    text = (_thread(watcher) / "status").read_text("ascii")
    found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)$", text, re.MULTILINE)
    assert found
    return int(found[1])


def _is_for_word(where: str) -> bool:
    """By the name of the kernel's function: in poll(2), or at the socket itself."""
    return "poll" in where or "skb_wait" in where


def _thread(watcher: Watcher) -> Path:
    return Path("/proc/self/task", str(watcher._thread.native_id))


def in_one_stroke(command: Sequence[str]) -> None:
    """Run it by a program that has been started before it is told to.

    Who starts one holds the interpreter until it runs: nobody else could notice.
    """
    waiting = ("sh", "-c", 'read -r _ && exec "$@"', "sh", *command)
    with subprocess.Popen(waiting, stdin=subprocess.PIPE) as program:
        program.communicate(b"now\n", timeout=PATIENCE)
    assert program.returncode == 0


def _listen() -> None:
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with closing(socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)) as ear:
        ear.bind((0, _GROUPS))
        _say(_READY)
        while True:
            datagram = ear.recv(_LARGEST)
            _say(f"{time.monotonic()!r} {datagram.hex()}")


def _say(line: str) -> None:
    os.write(sys.stdout.fileno(), f"{line}\n".encode("ascii"))


if __name__ == "__main__":
    _listen()
