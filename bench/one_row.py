# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs one row in this process, and hands what it yields to whoever started it.

    python -m bench.one_row NAME EFFORT

A line of JSON on standard output for each figure and curve as it comes, the row itself
first; whatever the row prints goes to standard error. SIGTERM ends it as an exception
does, so that what it made is cleared up.
"""

import json
import os
import signal
import sys
from typing import Any, TextIO

from bench import rows
from bench.contract import Effort, as_data


def main() -> None:
    name, effort = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("out of time"))
    # A descriptor of its own, which no program that the row starts inherits.
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    row = rows.row(name)
    _tell(told, {"title": row.title, "about": row.about, "seconds": row.seconds})
    if row.root and os.geteuid() != 0:
        sys.exit("it needs root")
    for item in row.measure(Effort(effort)):
        _tell(told, as_data(item))


def _tell(told: TextIO, data: dict[str, Any]) -> None:
    told.write(json.dumps(data) + "\n")
    told.flush()


if __name__ == "__main__":
    main()
