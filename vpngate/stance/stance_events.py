# SPDX-License-Identifier: GPL-2.0-or-later
"""What can happen to a stance: values, and nothing else.

Knows which events there are; does not know what follows from one (`transitions.py`).
`by` is who asked, as it is to be shown.
"""

from dataclasses import dataclass

from vpngate.stance.stance import Configured, HaltReason


@dataclass(frozen=True, slots=True)
class Enforce:
    """A person wants verdicts acted on.

    share           percent of the subscribers; None: as it stands
    for_seconds     after which it ends; None: never by itself
    confirm_within  seconds in which it has to be confirmed; None: it need not be
    """

    share: int | None = None
    for_seconds: float | None = None
    confirm_within: float | None = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A person has seen that it is well."""

    by: str = ""


@dataclass(frozen=True, slots=True)
class Observe:
    """A person wants nobody slowed."""

    by: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Halt:
    """Something was found that keeps the gateway from going on by itself."""

    reason: HaltReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Suspend:
    """The registry in force says that nobody is to be slowed, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Restart:
    """The daemon starts, with a stance that an earlier one has kept."""


StanceEvent = (
    Enforce | Confirmation | Observe | Tick | Halt | Suspend | Restart | Configured
)
