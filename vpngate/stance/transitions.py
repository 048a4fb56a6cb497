# SPDX-License-Identifier: GPL-2.0-or-later
"""The state machine of the stance: what follows from which event in which state.

Knows the table at the end of this file, and that time speaks before any event does: a
time that is over cannot be confirmed. Does not read a clock.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vpngate.config import Mode
from vpngate.stance.allowance import Allowance
from vpngate.stance.stance import (
    Cause,
    Configured,
    Footing,
    Posture,
    Stance,
    Why,
    first_stance,
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
from vpngate.timekeeping.clock import Reading


@dataclass(frozen=True, slots=True)
class Denied:
    """An event changes nothing: why, and what to do."""

    what: str
    remedy: str


def next_stance(stance: Stance, event: StanceEvent, at: Reading) -> Stance | Denied:
    """The stance after an event at an instant; itself if that changes nothing."""
    stance = passed(stance, at)
    return TABLE[type(event)][stance.posture](stance, event, at)


def passed(stance: Stance, at: Reading) -> Stance:
    """The stance as time alone has left it.

    What was not confirmed is observing after another boot of the machine.
    """
    confirm_by, until = stance.confirm_by, stance.until
    unconfirmed = confirm_by is not None and confirm_by.left(at) <= 0
    over = until is not None and until.left_by_either(at) <= 0
    if over and confirm_by is not None and until is not None:
        over = not unconfirmed or until.seconds < confirm_by.seconds
    if over:
        return stance.observing(Why(Cause.TIME_OVER), at)
    if not unconfirmed or confirm_by is None:
        return stance
    if confirm_by.is_of_another_boot(at):
        return stance.observing(Why(Cause.REBOOTED), at)
    return passed(_gone_back(stance, at), at)


def _gone_back(stance: Stance, at: Reading) -> Stance:
    """What was there before, as far as it acts on nobody else: that takes a person."""
    why = Why(Cause.UNCONFIRMED)
    back = stance.back
    if back is None or back.mode is Mode.OBSERVE:
        observing = stance.observing(why, at)
        return observing if back is None else replace(observing, share=back.share)
    return replace(
        stance,
        share=min(back.share, stance.share),
        why=why,
        since=at.wall,
        until=back.until,
        confirm_by=None,
        back=None,
    )


def _stay(stance: Stance, _event: object, _at: Reading) -> Stance:
    return stance


def _enforce(stance: Stance, event: Enforce, at: Reading) -> Stance:
    """Another stance altogether; it goes back to the last one that needs no word."""
    confirm_by = back = None
    if event.confirm_within is not None:
        confirm_by = Allowance(at, event.confirm_within)
        back = stance.back or Footing(stance.mode, stance.share, stance.until)
    return Stance(
        Mode.ENFORCE,
        stance.share if event.share is None else event.share,
        Why(Cause.ASKED, event.by),
        at.wall,
        stance.configured,
        None if event.for_seconds is None else Allowance(at, event.for_seconds),
        confirm_by,
        back,
    )


def _confirm(stance: Stance, event: Confirmation, at: Reading) -> Stance:
    why = Why(Cause.ASKED, event.by)
    return replace(stance, why=why, since=at.wall, confirm_by=None, back=None)


def _nothing_to_confirm(stance: Stance, _event: object, _at: Reading) -> Denied:
    if stance.enforcing:
        return Denied("nothing waits to be confirmed", "it stays as it is")
    what = f"nothing waits to be confirmed, the gateway observes ({stance.why})"
    return Denied(what, "`vpngate enforce` begins anew")


def _observe(stance: Stance, event: Observe, at: Reading) -> Stance:
    return stance.observing(Why(Cause.ASKED, event.by), at)


def _halt(stance: Stance, event: Halt, at: Reading) -> Stance:
    return stance.observing(Why(Cause.HALTED, event.detail, event.reason), at)


def _suspend(stance: Stance, event: Suspend, at: Reading) -> Stance:
    return stance.observing(Why(Cause.SUSPENDED, event.why), at)


def _configured(stance: Stance, event: Configured, at: Reading) -> Stance:
    """A text that was acted on once does not act again."""
    if event == stance.configured:
        return stance
    return first_stance(*event, at.wall)


_Step = Callable[[Stance, Any, Reading], Stance | Denied]
_OBSERVING, _ENFORCING, _UNCONFIRMED = Posture


def _row(*steps: _Step) -> Mapping[Posture, _Step]:
    return dict(zip(Posture, steps, strict=True))


# A halt or a suspension that finds nobody acting leaves its mark nowhere; one that
# stands is ended by `Enforce`, or by another text in the file, and by nothing else.
TABLE: Mapping[type[StanceEvent], Mapping[Posture, _Step]] = {
    #                observing            enforcing            to be confirmed
    Enforce: _row(_enforce, _enforce, _enforce),
    Confirmation: _row(_nothing_to_confirm, _nothing_to_confirm, _confirm),
    Observe: _row(_stay, _observe, _observe),
    Tick: _row(_stay, _stay, _stay),
    Restart: _row(_stay, _stay, _stay),
    Halt: _row(_stay, _halt, _halt),
    Suspend: _row(_stay, _suspend, _suspend),
    Configured: _row(_configured, _configured, _configured),
}
