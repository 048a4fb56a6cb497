# SPDX-License-Identifier: GPL-2.0-or-later
"""The questions: `status`, `counters`; of the registry in force `lookup`, `expiring`.

Knows that the last two are about who is registered, protected or in grace, and how many
may be asked at once; does not know flows or verdicts, so that nobody can be told by
them whether an address has a tunnel. Nothing of a question is logged.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from vpngate.daemon.in_force import InForce
from vpngate.daemon.outside.control import VerbHandler
from vpngate.daemon.threads import in_thread
from vpngate.errors import Problem, WrongUse
from vpngate.registry import answer, by_day, endings, questions
from vpngate.snapshot import Snapshot
from vpngate.timekeeping.moments import When

MOST_ASKED = 100
LONGEST = 100 * 366 * 86400.0  # seconds


class Questions:
    """The verbs; looked up beside the event loop, in what was in force when asked.

    `state` is what pages show, too; `refreshes` is for who may ask here alone.
    """

    def __init__(
        self,
        in_force: InForce,
        now: Callable[[], When],
        state: Callable[[], Awaitable[dict[str, Any]]],
        refreshes: Callable[[], dict[str, Any]],
        exposition: Callable[[], tuple[bytes, str]],
    ) -> None:
        self._in_force = in_force
        self._now = now
        self._state = state
        self._refreshes = refreshes
        self._exposition = exposition

    @property
    def handlers(self) -> dict[str, VerbHandler]:
        """By name."""
        return {
            "status": self._status,
            "counters": self._counters,
            "lookup": self._lookup,
            "expiring": self._expiring,
        }

    async def _status(self, _arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {**await self._state(), "refreshes": self._refreshes()}

    async def _counters(self, _arguments: Mapping[str, Any]) -> str:
        """What /metrics shows, for who has the socket and not that page."""
        await self._state()  # has what the kernel counts read
        return self._exposition()[0].decode()

    async def _lookup(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        asked = _texts(arguments)
        snapshot = self._in_force.snapshot
        return await in_thread(_looked_up, snapshot, asked, self._now())

    async def _expiring(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        within, now = _within(arguments), self._now()
        registry = self._in_force.snapshot.registry
        return await in_thread(
            lambda: by_day(endings(registry, now, within), now, within)
        )


def _looked_up(snapshot: Snapshot, asked: list[str], now: When) -> dict[str, Any]:
    registry, protected = snapshot.registry, snapshot.protected
    try:
        answers = [answer(registry, each, now, protected) for each in questions(asked)]
    except ValueError as error:
        raise WrongUse(Problem("lookup", str(error))) from None
    return {"suspend": registry.suspend, "answers": answers}


def _texts(arguments: Mapping[str, Any]) -> list[str]:
    asked: Any = arguments.get("asked")
    is_list = isinstance(asked, list) and all(isinstance(each, str) for each in asked)
    if not is_list or arguments.keys() != {"asked"}:
        raise WrongUse(Problem("lookup", "takes a list of texts, `asked`"))
    if len(asked) > MOST_ASKED:
        raise WrongUse(Problem("lookup", f"takes {MOST_ASKED} at once"))
    return list(asked)


def _within(arguments: Mapping[str, Any]) -> float:
    within: Any = arguments.get("within")
    number = type(within) in {int, float} and math.isfinite(within)
    if not number or arguments.keys() != {"within"} or not 0 < within <= LONGEST:
        what = f"takes `within`, seconds above 0 and up to {LONGEST:.0f}"
        raise WrongUse(Problem("expiring", what))
    return float(within)
