# SPDX-License-Identifier: GPL-2.0-or-later
"""The stance: whether the gateway acts, on how many, until when, and why.

Knows the states, the events, and what follows from each; does not read a clock or a
file, and does not know how anybody is slowed.
"""

from vpngate.stance.allowance import Allowance
from vpngate.stance.kept import of_text, to_text
from vpngate.stance.stance import (
    ALL,
    Cause,
    Configured,
    Footing,
    HaltReason,
    Posture,
    Stance,
    Why,
    acts_no_more,
    first_stance,
    less_of,
)
from vpngate.stance.stance_events import (
    Confirmation,
    Enforce,
    Halt,
    Observe,
    Restart,
    StanceEvent,
    Suspend,
    Tick,
)
from vpngate.stance.transitions import Denied, next_stance, passed
from vpngate.stance.words import in_fields, in_one_line, in_rows, what_to_do

__all__ = [
    "ALL",
    "Allowance",
    "Cause",
    "Configured",
    "Confirmation",
    "Denied",
    "Enforce",
    "Footing",
    "Halt",
    "HaltReason",
    "Observe",
    "Posture",
    "Restart",
    "Stance",
    "StanceEvent",
    "Suspend",
    "Tick",
    "Why",
    "acts_no_more",
    "first_stance",
    "in_fields",
    "in_one_line",
    "in_rows",
    "less_of",
    "next_stance",
    "of_text",
    "passed",
    "to_text",
    "what_to_do",
]
