# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers of subscribers, told so that none of them shows what one subscriber does.

Whoever may choose the registry that is previewed could choose two that differ by one
address, and see whether the numbers differ. So a number is told only from `FEWEST` on,
in steps of `STEP`, and chance is added before that: otherwise tunnels of one's own
could bring a number to where one more subscriber tips it over. Knows numbers alone.
"""

import secrets
from collections.abc import Callable

FEWEST = 10
STEP = 5
_BITS = 64


def chance() -> int:
    """A whole number around 0; each step away from it is half as likely.

    The two-sided geometric distribution: of two neighbouring numbers no answer is more
    than twice as likely as from the other.
    """
    return _heads() - _heads()


def _heads() -> int:
    """How often a coin falls on its head before its tail."""
    tosses = secrets.randbits(_BITS) | 1 << _BITS
    return (tosses & -tosses).bit_length() - 1


def told(number: int, chance: Callable[[], int] = chance) -> int | None:
    """About how many; None for fewer than `FEWEST`."""
    about = number + chance()
    return None if about < FEWEST else about // STEP * STEP
