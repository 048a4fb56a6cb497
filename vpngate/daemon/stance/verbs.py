# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person asks of the stance through the control socket.

Knows the three verbs, their arguments, and that none of them waits for a source; does
not know what follows (`stance`).
"""

import math
from collections.abc import Mapping
from typing import Any

from vpngate.daemon.applying.applier import Applier
from vpngate.daemon.outside.control import VerbHandler, asked_by, flags
from vpngate.errors import Problem, Refused, WrongUse
from vpngate.stance import ALL, Confirmation, Enforce, Observe, in_one_line, what_to_do

LONGEST = 366 * 86400.0  # seconds


class StanceVerbs:
    """The verbs; each answers with the stance that is acted on then."""

    def __init__(self, applier: Applier) -> None:
        self._applier = applier

    @property
    def handlers(self) -> dict[str, VerbHandler]:
        """By name."""
        return {
            "enforce": self._enforce,
            "confirm": self._confirm,
            "observe": self._observe,
        }

    async def _enforce(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        for name in arguments:
            if name not in {"share", "for", "confirm_within"}:
                raise WrongUse(Problem(repr(name), "is no argument of this verb"))
        event = Enforce(
            _share(arguments.get("share")),
            _seconds(arguments, "for"),
            _seconds(arguments, "confirm_within"),
            _by(),
        )
        await self._applier.take(event)
        stance = self._applier.situation.snapshot.stance
        if not stance.enforcing:  # its time was over, or somebody has said otherwise
            what = f"is another one by now: {in_one_line(stance)}"
            raise Refused(Problem("stance", what, "see `vpngate status`"))
        return self._answer()

    async def _confirm(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        flags(arguments)
        await self._applier.take(Confirmation(by=_by()))
        return self._answer()

    async def _observe(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        flags(arguments)
        await self._applier.take_at_once(Observe(by=_by()))
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        snapshot = self._applier.situation.snapshot
        return {
            "stance": in_one_line(snapshot.stance),
            "what_to_do": what_to_do(snapshot.stance, snapshot.suspended),
        }


def _by() -> str:
    return f"uid {asked_by.get()}"


def _share(value: Any) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= ALL:
        raise WrongUse(Problem("share", f"is no whole percentage from 0 to {ALL}"))
    return value


def _seconds(arguments: Mapping[str, Any], name: str) -> float | None:
    value = arguments.get(name)
    if value is None:
        return None
    number = type(value) in {int, float} and math.isfinite(value)
    if not number or not 0 < value <= LONGEST:
        what = f"is no number of seconds above 0 and up to {LONGEST:.0f}"
        raise WrongUse(Problem(name, what))
    return float(value)
