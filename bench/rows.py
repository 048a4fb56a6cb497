# SPDX-License-Identifier: GPL-2.0-or-later
"""Which rows the bench has, in the order in which they run.

Knows their modules' names; what they need is imported when one is asked for.
"""

import importlib

from bench.contract import Row

NAMES = (
    "load",
    "lookup",
    "delta",
    "forward",
    "forward_steps",
    "classify",
    "handshakes",
    "latency",
    "idle",
    "growth",
    "second_reading",
    "subscribers",
    "urgent",
    "rates",
)


def row(name: str) -> Row:
    """The row of that name, or of a module by its whole name, with a dot in it.

    Raises what its module raises, where it cannot be had.
    """
    module = importlib.import_module(name if "." in name else f"bench.{name}")
    found = getattr(module, "ROW", None)
    if not isinstance(found, Row):
        raise TypeError(f"{module.__name__} has no ROW")
    return found
