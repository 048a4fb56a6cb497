# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory: Python's collector of cycles, and what the C library keeps of what was freed.

Knows that a full collection goes through all objects while no thread runs: half a
second where there are 60,000 verdicts, and no kernel is disarmed meanwhile. So only
what is younger than the last `collect_young` is ever gone through. And that glibc keeps
60 MB of what it took to read a registry of a million prefixes, for another one that
comes next week. Does not know what the objects are: those that no cycle holds go at
once, as ever.
"""

import ctypes
import gc
from contextlib import suppress

from vpngate.daemon.threads import in_thread
from vpngate.errors import MachineFault

# Of CPython: objects until those that are young are gone through, and how often that
# is until those that were left are.
_YOUNGEST, _MIDDLE = 700, 10
_NEVER = 2**31 - 1  # collections of the middle generation until a full one


def begin() -> None:
    """Leave alone whatever is there now, and have no full collection by itself."""
    gc.set_threshold(_YOUNGEST, _MIDDLE, _NEVER)
    collect_young()


def collect_young() -> None:
    """Collect what came since the last time, and leave the rest alone from now on."""
    gc.collect()
    gc.freeze()


async def collect() -> None:
    """Both, what was freed beside the event loop: it may take some ms."""
    collect_young()
    with suppress(MachineFault):  # no thread now: the next time
        await in_thread(give_back)


def give_back() -> None:
    """Give the machine back what was freed, where the C library can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
