# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the gateway acts, on how many, until when, and why: one value.

Knows what belongs to it, and which of two acts on fewer; does not know what changes it
(`transitions.py`), nor how it is kept (`kept.py`).
"""

import math
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from typing import NamedTuple

from vpngate.config import Mode
from vpngate.stance.allowance import Allowance
from vpngate.timekeeping.clock import Reading

ALL = 100  # percent


class HaltReason(StrEnum):
    """What makes the gateway stop acting by itself, as metrics name it."""

    SPARED_PACKETS = "spared_packets"
    THROTTLED_SHARE = "throttled_share"
    CAPTURE_LOSS = "capture_loss"
    DISAGREEMENTS = "disagreements"
    WITNESS = "witness"


class Cause(StrEnum):
    """What has brought a stance about."""

    CONFIGURED = "configured"
    ASKED = "asked"  # by a person, with a command
    TIME_OVER = "time over"
    UNCONFIRMED = "not confirmed"
    REBOOTED = "not confirmed before the machine was started again"
    HALTED = "halted"
    SUSPENDED = "suspended by the registry"
    UNREADABLE = "what was kept cannot be read"


class Why(NamedTuple):
    """The cause of a stance, and more about it: who, or what was found.

    halt  the reason, where it is a halt
    """

    cause: Cause
    text: str = ""
    halt: HaltReason | None = None

    def __str__(self) -> str:
        reason = f" ({self.halt})" if self.halt else ""
        return f"{self.cause}{reason}" + (f": {self.text}" if self.text else "")


class Configured(NamedTuple):
    """Also an event: the file says so.

    share  percent of the subscribers
    """

    mode: Mode
    share: int


class Footing(NamedTuple):
    """What a stance goes back to where nobody confirms it."""

    mode: Mode
    share: int
    until: Allowance | None = None


class Posture(Enum):
    """The states that events tell apart."""

    OBSERVING = "observing"
    ENFORCING = "enforcing"
    UNCONFIRMED = "enforcing, to be confirmed"


@dataclass(frozen=True, slots=True)
class Stance:
    """Whether verdicts are acted on.

    share       percent of the subscribers; while observing, whom an enforce that names
                no share would be for
    until       when acting ends by itself
    confirm_by  when it goes `back`, unless somebody confirms
    why, since  what has brought it about, and when (seconds since the epoch)
    configured  what the file said that was acted on last
    """

    mode: Mode
    share: int
    why: Why
    since: float
    configured: Configured
    until: Allowance | None = None
    confirm_by: Allowance | None = None
    back: Footing | None = None

    @property
    def posture(self) -> Posture:
        """The state, as the table of events has it."""
        if self.mode is Mode.OBSERVE:
            return Posture.OBSERVING
        return Posture.UNCONFIRMED if self.confirm_by else Posture.ENFORCING

    @property
    def enforcing(self) -> bool:
        """Whether verdicts are to be acted on."""
        return self.mode is Mode.ENFORCE

    @property
    def ends(self) -> float | None:
        """When it is another one by itself, in seconds since the epoch, if ever."""
        return min((each.wall for each in self._deadlines()), default=None)

    def left(self, at: Reading) -> float:
        """Seconds until it is another one by itself; infinite if it never is."""
        lefts = []
        if self.until is not None:
            lefts.append(self.until.left_by_either(at))
        if self.confirm_by is not None:
            lefts.append(self.confirm_by.left(at))
        return min(lefts, default=math.inf)

    def left_to_act(self, at: Reading) -> float:
        """Seconds until fewer are slowed, or nobody, unless somebody acts meanwhile."""
        return self.left(at) if self.enforcing else 0.0

    def observing(self, why: Why, at: Reading) -> "Stance":
        """The same, but that nobody is slowed, and why not."""
        return Stance(Mode.OBSERVE, self.share, why, at.wall, self.configured)

    def _deadlines(self) -> list[Allowance]:
        return [each for each in (self.until, self.confirm_by) if each is not None]


def first_stance(mode: Mode, share: int, since: float = 0.0) -> Stance:
    """The stance of a first start: what the file says."""
    return Stance(mode, share, Why(Cause.CONFIGURED), since, Configured(mode, share))


def acts_no_more(one: Stance, than: Stance) -> bool:
    """Whether a stance acts on nobody longer, and on nobody else, than another."""
    if not one.enforcing:
        return True
    return (
        than.enforcing
        and one.share <= than.share
        and _no_later(one.until, than.until)
        and _no_later(one.confirm_by, than.confirm_by)
    )


def less_of(old: Stance, new: Stance) -> Stance:
    """The old stance, but for what the new one says against acting."""
    if acts_no_more(new, old):
        return new
    if old.enforcing and new.share < old.share:
        return replace(old, share=new.share)
    return old


def _no_later(one: Allowance | None, than: Allowance | None) -> bool:
    if than is None:
        return True
    return one is not None and one.ends_no_later(than)
