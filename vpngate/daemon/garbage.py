# SPDX-License-Identifier: GPL-2.0-or-later
"""Python's collector of cycles, kept from walking what lives long.

Knows that a full collection goes through all objects while no thread runs: half a
second where there are 60,000 verdicts, and no kernel is disarmed meanwhile. So only
what is younger than the last `collect_young` is ever gone through. Does not know what
the objects are: those that no cycle holds go at once, as ever.
"""

import gc

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
