# SPDX-License-Identifier: GPL-2.0-or-later
"""Which rows the bench has, in the order in which they run.

Knows their modules' names; what they need is imported when one is asked for.
"""

import importlib

from bench.contract import Row

NAMES = (
    "load",
    "forward",
    "classify",
)


def row(name: str) -> Row:
    """The row of that name. Whatever its module raises, where it cannot be had."""
    found = importlib.import_module(f"bench.{name}").ROW
    if not isinstance(found, Row):
        raise TypeError(f"bench.{name}.ROW is no row")
    return found
