# SPDX-License-Identifier: GPL-2.0-or-later
"""The registry: whose tunnels are registered, from when until when.

Knows how a registry is written, what it says of an address at a moment, and what
may take its place; does not know files, networks, the kernel, or the time of day:
`now` comes in as seconds since the epoch, or as a span of them where the clock is
in doubt.
"""

from vpngate.registry.comparison import (
    Difference,
    Impact,
    RegistrationChange,
    SuspendChange,
    compare,
    impact,
)
from vpngate.registry.endings import by_day, endings
from vpngate.registry.grace.departures import (
    carry_over,
)
from vpngate.registry.grace.persistence import recall_departed, remember_departed
from vpngate.registry.guard import (
    Accept,
    GuardSettings,
    Objection,
    Refusal,
    guard,
    objections,
)
from vpngate.registry.questions import (
    MOST,
    RegistryQuestion,
    answer,
    question,
    questions,
)
from vpngate.registry.reading.loading import Limits, Loaded, load
from vpngate.registry.registration import Registration
from vpngate.registry.registry import Registry, empty_registry

__all__ = [
    "MOST",
    "Accept",
    "Difference",
    "GuardSettings",
    "Impact",
    "Limits",
    "Loaded",
    "Objection",
    "Refusal",
    "Registration",
    "RegistrationChange",
    "Registry",
    "RegistryQuestion",
    "SuspendChange",
    "answer",
    "by_day",
    "carry_over",
    "compare",
    "empty_registry",
    "endings",
    "guard",
    "impact",
    "load",
    "objections",
    "question",
    "questions",
    "recall_departed",
    "remember_departed",
]
