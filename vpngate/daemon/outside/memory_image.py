# SPDX-License-Identifier: GPL-2.0-or-later
"""No image of the daemon's memory is written: it would hold subscribers' addresses.

Knows prctl(2) and setrlimit(2); does not know what is in memory. The unit has
LimitCORE, which a `core_pattern` that pipes to a program passes over; a process that is
not dumpable has no image for anybody (core(5)), and only root may look into it while it
runs (ptrace(2)).
"""

import contextlib
import ctypes
import resource

_PR_SET_DUMPABLE = 4  # linux/prctl.h


def forbid() -> None:
    """For this process, from now on. Where the kernel refuses, the limit is left."""
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
