# SPDX-License-Identifier: GPL-2.0-or-later
"""A stance as text, to be kept and read again.

Knows the fields and what each may hold; does not know where the text lies. One JSON
object with the number of its format.
"""

import json
import math
from typing import Any

from vpngate.config import Mode
from vpngate.stance.allowance import Allowance
from vpngate.stance.stance import (
    ALL,
    Cause,
    Configured,
    Footing,
    HaltReason,
    Stance,
    Why,
)
from vpngate.timekeeping.clock import Reading

FORMAT = 1
_LONGEST_TEXT = 1000  # characters of why
_LONGEST_BOOT = 64  # the kernel's has 36
_LAST_SHOWN = 253402300799.0  # the end of the year 9999

_EXTREME = (ArithmeticError, RecursionError)  # of numbers and of depths


def to_text(stance: Stance) -> str:
    """As one line of JSON, for `of_text`."""
    cause, text, halt = stance.why
    fields = {
        "format": FORMAT,
        "mode": stance.mode,
        "share": stance.share,
        "why": {"cause": cause.name, "text": text[:_LONGEST_TEXT], "halt": halt},
        "since": stance.since,
        "configured": stance.configured._asdict(),
        "until": _fields(stance.until),
        "confirm_by": _fields(stance.confirm_by),
        "back": stance.back
        and {**stance.back._asdict(), "until": _fields(stance.back.until)},
    }
    return json.dumps(fields) + "\n"


def of_text(text: str) -> Stance:
    """The inverse of `to_text`; ValueError for anything else."""
    try:
        kept = json.loads(text)
        if kept["format"] != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        stance = Stance(
            Mode(kept["mode"]),
            _share(kept["share"]),
            _why(kept["why"]),
            _number(kept["since"], _LAST_SHOWN),
            Configured(*_footing(kept["configured"])),
            _deadline(kept["until"]),
            _deadline(kept["confirm_by"]),
            _back(kept["back"]),
        )
    except (LookupError, TypeError, AttributeError, *_EXTREME) as error:
        raise ValueError(f"it is not what was written ({error!r})") from None
    if (stance.confirm_by is None) != (stance.back is None):
        raise ValueError("what has to be confirmed goes back to something")
    if not stance.enforcing and (stance.until or stance.confirm_by):
        raise ValueError("observing does not end by itself")
    return stance


def _fields(deadline: Allowance | None) -> dict[str, Any] | None:
    if deadline is None:
        return None
    return {"begun": deadline.begun._asdict(), "seconds": deadline.seconds}


def _deadline(fields: Any) -> Allowance | None:
    if fields is None:
        return None
    begun = fields["begun"]
    boot = begun["boot"]
    if not isinstance(boot, str) or not 0 < len(boot) <= _LONGEST_BOOT:
        raise ValueError("it names no boot")
    wall = _number(begun["wall"], _LAST_SHOWN)
    uptime = _number(begun["uptime"], _LAST_SHOWN)
    return Allowance(Reading(wall, uptime, boot), _number(fields["seconds"], 1e10))


def _back(fields: Any) -> Footing | None:
    if fields is None:
        return None
    return Footing(*_footing(fields), _deadline(fields["until"]))


def _footing(fields: Any) -> tuple[Mode, int]:
    return Mode(fields["mode"]), _share(fields["share"])


def _why(fields: Any) -> Why:
    text, halt = fields["text"], fields["halt"]
    if not isinstance(text, str) or len(text) > _LONGEST_TEXT:
        raise ValueError("its reason is no text")
    return Why(Cause[fields["cause"]], text, None if halt is None else HaltReason(halt))


def _share(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= ALL:
        raise ValueError("its share is no percentage")
    return value


def _number(value: Any, most: float) -> float:
    if type(value) not in {int, float} or not math.isfinite(value):
        raise ValueError("it states a time that is none")
    if not 0 <= value <= most:
        raise ValueError("it states a time that there is not")
    return float(value)
