# SPDX-License-Identifier: GPL-2.0-or-later
"""A fault: its name, what it does, how it is undone, and what it costs in any case.

Knows what belongs to one; does not know any (`families/`), nor whom it befalls.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import TYPE_CHECKING, Any

from vpngate.stance import HaltReason

if TYPE_CHECKING:
    from tests.campaign.world import World

Parameters = Mapping[str, Any]  # numbers and words, fit for JSON


class Cost(Enum):
    """What a fault costs where there is no vpngate."""

    NOTHING = "nothing"
    LINK = "what the link does not carry: the control's link has the same fault"
    LOAD = "what a machine that is this busy loses"


def nothing_drawn(_random: Random) -> Parameters:
    """A fault that is the same each time."""
    return {}


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    befall      does it when the block is entered, undoes it when it is left
    draw        its parameters
    cost        without vpngate
    weight      how often it comes, beside the others
    enforcing   it only makes sense where verdicts are acted on
    silence     seconds that an unregistered tunnel may be silent for longer than the
                control
    clock       the daemon's clock has to be one that can be moved
    may_end     the daemon may give up, in one line; it is started again then
    may_halt    reasons for which it may halt of itself
    """

    name: str
    befall: "Callable[[World, Parameters], AbstractContextManager[None]]"
    draw: Callable[[Random], Parameters] = nothing_drawn
    cost: Cost = Cost.NOTHING
    weight: float = 1.0
    enforcing: bool = False
    silence: float = 1.0
    clock: bool = False
    may_end: bool = False
    may_halt: frozenset[HaltReason] = frozenset()
