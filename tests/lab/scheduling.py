# SPDX-License-Identifier: GPL-2.0-or-later
"""How long the kernel has had threads wait for a processor, by its own account.

What a busy machine takes from a program can so be told from what the program takes.
Knows /proc; does not know what a thread is for.
"""

import contextlib
from pathlib import Path

_THREADS = Path("/proc/self/task")


class Waiting:
    """That of all threads of this process, from now on."""

    def __init__(self) -> None:
        self._begin = _each()
        self._last = dict(self._begin)

    def look(self) -> float:
        """Seconds of all, added up; of those that have ended, up to the last look."""
        self._last |= _each()
        begin = self._begin
        return sum(one - begin.get(name, 0.0) for name, one in self._last.items())


def waited(thread: Path) -> float:
    """Seconds that it was ready to run while others ran, in its life."""
    text = (thread / "schedstat").read_text("ascii")
    return int(text.split()[1]) / 1e9


def _each() -> dict[str, float]:
    found = {}
    for thread in _THREADS.iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # just ended
            found[thread.name] = waited(thread)
    return found
