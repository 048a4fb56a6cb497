# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands, with programs that stand by filters of clsact if a run asks for that.

Users are not asked: the kernel says what it has. Everything else is as it is for them.

usage: tests/lab/vpngate-by-filters COMMAND ...
"""

import sys
from pathlib import Path

from tests.planes import BY_FILTERS
from vpngate.cli import main
from vpngate.kernel.bpf_steps import BpfSteps
from vpngate.kernel.programmed.attachments.by_filters import ByFilters


def as_asked() -> None:
    """For this process."""
    if BY_FILTERS:
        BpfSteps.__init__.__defaults__ = (ByFilters,)


if __name__ == "__main__":
    Path("/proc/self/comm").write_text("vpngate")  # by which the doctor knows a daemon
    as_asked()
    sys.exit(main())
