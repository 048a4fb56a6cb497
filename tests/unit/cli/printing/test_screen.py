# SPDX-License-Identifier: GPL-2.0-or-later
"""A terminal that was drawn on is left as it was."""

import os
import pty
import signal
import subprocess
import sys

_PROGRAM = """
import os, signal
from vpngate.cli.printing import screen

def views():
    yield ["drawn"]
    os.kill(os.getpid(), signal.SIGTERM)
    yield ["not any more"]

screen.redraw(views())
"""


def test_sigterm_leaves_the_terminal_as_it_was() -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "screen-256color"}
    command = [sys.executable, "-c", _PROGRAM]
    with subprocess.Popen(command, stdout=theirs, env=environment) as child:
        os.close(theirs)
        drawn = b""
        try:
            while piece := os.read(ours, 65536):
                drawn += piece
        except OSError:  # EIO: nobody has the other end any more
            pass
        finally:
            os.close(ours)
    assert b"drawn" in drawn
    assert b"not any more" not in drawn
    assert child.returncode == 128 + signal.SIGTERM
    for begun, left in ((b"\x1b[?1049h", b"\x1b[?1049l"), (b"\x1b[?25l", b"\x1b[?25h")):
        assert 0 <= drawn.find(begun) < drawn.rfind(left)
