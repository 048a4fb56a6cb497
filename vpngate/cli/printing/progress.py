# SPDX-License-Identifier: GPL-2.0-or-later
"""A line on the terminal that tells how far long work has come.

Knows stderr, and keeps silent where that is no terminal or the work is short; does
not know the work.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vpngate.plaintext import plain

_INTERVAL = 0.5  # seconds; what takes less shows nothing
_ERASE = "\r\x1b[K"


class Progress:
    """The line, drawn anew twice a second while work is going on."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    @contextmanager
    def watch(self, name: str, fraction: Callable[[], float | None]) -> Iterator[None]:
        """Show `name` and the share of the work that is done, 0 to 1 if known."""
        if not self._shown:
            yield
            return
        done = threading.Event()

        def draw() -> None:
            while not done.wait(_INTERVAL):
                share = fraction()
                percent = "" if share is None else f" {share:.0%}"
                _draw(f"{plain(name)}{percent}")

        drawing = threading.Thread(target=draw, daemon=True)
        drawing.start()
        try:
            yield
        finally:
            done.set()
            drawing.join()
            _draw("")


def _draw(line: str) -> None:
    print(f"{_ERASE}{line}", end="", file=sys.stderr, flush=True)
