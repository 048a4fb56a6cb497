# SPDX-License-Identifier: GPL-2.0-or-later
"""A stance in words, for the log, for `status` and for whoever has changed it.

Knows how it is put, and what a person can do about it; does not know how it came about.
"""

from collections.abc import Sequence
from typing import Any

from vpngate.config import Mode
from vpngate.errors import Problem
from vpngate.stance.allowance import Allowance
from vpngate.stance.stance import ALL, Cause, Footing, Stance
from vpngate.timekeeping.moments import format_moment

_RESUME = "`vpngate enforce` once that is settled"
_WHAT_TO_DO = {
    Cause.UNCONFIRMED: "see whether all is well, then `vpngate enforce` again",
    Cause.REBOOTED: "see whether all is well, then `vpngate enforce` again",
    Cause.TIME_OVER: "`vpngate enforce` if it is to go on",
    Cause.HALTED: "find out why (see the log); it goes on with `vpngate enforce` alone",
    Cause.SUSPENDED: "ask who keeps the registry; `vpngate enforce` once it allows it",
    Cause.UNREADABLE: _RESUME,
}


def in_one_line(stance: Stance) -> str:
    """What is in force, until when, and why."""
    ends = []
    if stance.until is not None:
        ends.append(f"until {_moment(stance.until)}")
    if stance.confirm_by is not None and stance.back is not None:
        back = _short(stance.back)
        ends.append(f"to be confirmed by {_moment(stance.confirm_by)}, else {back}")
    return ", ".join([_short(stance), *ends]) + f" ({stance.why})"


def in_rows(stance: Stance, suspended: Sequence[Problem] = ()) -> dict[str, Any]:
    """The same for `status`, with what a person can do.

    `suspended` is what keeps it from being acted on.
    """
    return {
        "mode": stance.mode.value,
        "share": stance.share,
        "since": format_moment(round(stance.since)),
        "until": _moment(stance.until),
        "confirm_by": _moment(stance.confirm_by),
        "goes_back_to": None if stance.back is None else _short(stance.back),
        "why": str(stance.why),
        "what_to_do": what_to_do(stance, suspended),
    }


def in_fields(stance: Stance) -> dict[str, Any]:
    """The same for a log line that programs read: numbers and words, no sentence."""
    return {
        "mode": stance.mode.value,
        "share": stance.share,
        "cause": stance.why.cause.value,
        "halt": stance.why.halt and stance.why.halt.value,
        "until": _moment(stance.until),
        "confirm_by": _moment(stance.confirm_by),
    }


def what_to_do(stance: Stance, suspended: Sequence[Problem] = ()) -> str | None:
    """What takes a person, None if nothing does."""
    if stance.confirm_by is not None:
        return "`vpngate confirm` if all is well, `vpngate observe` if not"
    if suspended:
        return str(suspended[0])
    return None if stance.enforcing else _WHAT_TO_DO.get(stance.why.cause)


def _short(stance: Stance | Footing) -> str:
    if stance.mode is Mode.OBSERVE:
        return "observe"
    if stance.share == ALL:
        return "enforce"
    return f"enforce for {stance.share}% of the subscribers"


def _moment(deadline: Allowance | None) -> str | None:
    return None if deadline is None else format_moment(round(deadline.wall))
