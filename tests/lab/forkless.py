# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon, watched for a fork without an exec: it says so, and goes on.

Whoever forks so has a copy of every descriptor, also of those that the kernel ends
throttling by when they are closed. Knows what Python tells of such forks; a program
that is run by subprocess has no descriptor that closes on exec, and counts as none.

usage: python -m tests.lab.forkless run --config FILE ...
"""

import os
import sys
import traceback

from tests.lab import by_filters
from vpngate.cli import main

WORD = "forked without exec"
_FORKS = ("os.fork", "os.forkpty")


def _hear(event: str, _: object) -> None:
    if event in _FORKS:
        where = "".join(traceback.format_stack(limit=6))
        sys.stderr.write(f"{WORD} by {event}:\n{where}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.addaudithook(_hear)
    if sys.argv[1:] == ["fork"]:  # to see that it would be heard
        if not os.fork():
            os._exit(0)
        os.wait()
        sys.exit(0)
    by_filters.as_asked()
    sys.exit(main())
