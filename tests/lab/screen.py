# SPDX-License-Identifier: GPL-2.0-or-later
"""A terminal as people have one: tmux, with a size, and what stands on its screen.

Knows how to run a program in it, to press keys and to read the screen; does not know
the program. The server is the test's own and ends with it.
"""

import contextlib
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.lab.namespaces import LabError, wait_until


class Screen:
    """What one program shows."""

    def __init__(self, socket: Path, size: tuple[int, int]) -> None:
        self._socket = socket
        self.columns, self.lines = size

    def _tmux(self, *words: str) -> str:
        command = ("tmux", "-f", "/dev/null", "-S", str(self._socket), *words)
        return subprocess.run(
            command, check=True, capture_output=True, text=True
        ).stdout

    def begin(self, *argv: str, environment: Mapping[str, str]) -> None:
        """Run a program, and tell its exit status when it has ended."""
        given = [f"{name}={value}" for name, value in environment.items()]
        program = shlex.join(["env", *given, *argv])
        # Ctrl-C is the program's alone.
        line = f"trap : INT; {program}; echo ended with $?; sleep 600"
        size = ("-x", str(self.columns), "-y", str(self.lines))
        self._tmux("new-session", "-d", *size, "sh", "-c", line)

    def text(self, *, styles: bool = False) -> str:
        """The screen; with `styles` as the sequences that make it look so."""
        return self._tmux("capture-pane", "-p", *(["-e"] if styles else []))

    def press(self, key: str) -> None:
        """A key as tmux names it: `C-c`."""
        self._tmux("send-keys", key)

    def resize(self, columns: int, lines: int) -> None:
        """Make the terminal another size."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def wait_for(self, text: str) -> str:
        """The screen, once it has this text."""
        try:
            wait_until(lambda: text in self.text(), f"{text!r} on the screen")
        except LabError as error:
            raise LabError(f"{error}\n{self.text()}") from None
        return self.text()

    def end(self) -> None:
        """Have the server go, and everything in it."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._tmux("kill-server")


@contextlib.contextmanager
def screen(folder: Path, columns: int, lines: int) -> Iterator[Screen]:
    """A terminal of this size for the length of a with block."""
    made = Screen(folder / f"tmux-{columns}", (columns, lines))
    try:
        yield made
    finally:
        made.end()
