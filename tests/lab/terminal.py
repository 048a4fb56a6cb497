# SPDX-License-Identifier: GPL-2.0-or-later
"""A program that asks for a password on its terminal, and is given one."""

import os
import pty
from collections.abc import Sequence


def told(argv: Sequence[str], password: str) -> tuple[int, bytes]:
    """Run a program until it ends; its exit status, and what it has shown."""
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover
        os.execv(argv[0], list(argv))
    shown = b""
    with os.fdopen(terminal, "r+b", buffering=0) as screen:
        while b": " not in shown:
            shown += screen.read(1024)
        screen.write(f"{password}\n".encode())
        try:
            while piece := screen.read(1024):
                shown += piece
        except OSError:  # the other end is closed
            pass
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), shown
