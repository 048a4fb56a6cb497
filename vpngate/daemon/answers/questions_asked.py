# SPDX-License-Identifier: GPL-2.0-or-later
"""The questions: `status`, `counters`; of the registry in force `lookup`, `expiring`.

Knows that the last two are about who is registered, protected or in grace, and how many
may be asked at once; does not know flows or verdicts, so that nobody can be told by
them whether an address has a tunnel. Nothing of a question is logged.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from vpngate.daemon.in_force import InForce
from vpngate.daemon.outside.control import VerbHandler
from vpngate.daemon.threads import in_thread
from vpngate.errors import Problem, WrongUse
from vpngate.registry import (
    MOST,
    RegistryQuestion,
    answer,
    by_day,
    endings,
    questions,
)
from vpngate.snapshot import Snapshot
from vpngate.timekeeping.moments import When

MOST_ASKED = 100
# Registrations in a whole answer: the event loop writes it, a few milliseconds long.
MOST_TOLD = 2000
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
        self._turn = asyncio.Lock()

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
        asked = _questions(arguments)

        def look(snapshot: Snapshot, now: When) -> dict[str, Any]:
            return _looked_up(snapshot, asked, now)

        return await self._alone(look)

    async def _expiring(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        within = _within(arguments)

        def look(snapshot: Snapshot, now: When) -> dict[str, Any]:
            return by_day(endings(snapshot.registry, now, within), now, within)

        return await self._alone(look)

    async def _alone(
        self, look: Callable[[Snapshot, When], dict[str, Any]]
    ) -> dict[str, Any]:
        """Look beside the event loop, one question at a time, in what is in force.

        Who goes away leaves the thread at work: the next waits until it has ended.
        """
        await self._turn.acquire()
        looking = asyncio.ensure_future(
            in_thread(look, self._in_force.snapshot, self._now())
        )
        looking.add_done_callback(lambda _: self._turn.release())
        return await asyncio.shield(looking)


def _looked_up(
    snapshot: Snapshot, asked: list[RegistryQuestion], now: When
) -> dict[str, Any]:
    registry, protected = snapshot.registry, snapshot.protected
    answers, left = [], MOST_TOLD
    for each in asked:
        found = answer(registry, each, now, protected, min(MOST, left))
        left -= len(found.get("registrations", ()))
        answers.append(found)
    return {"suspend": registry.suspend, "answers": answers}


def _questions(arguments: Mapping[str, Any]) -> list[RegistryQuestion]:
    asked: Any = arguments.get("asked")
    is_list = isinstance(asked, list) and all(isinstance(each, str) for each in asked)
    if not is_list or arguments.keys() != {"asked"}:
        raise WrongUse(Problem("lookup", "takes a list of texts, `asked`"))
    if len(asked) > MOST_ASKED:
        raise WrongUse(Problem("lookup", f"takes {MOST_ASKED} at once"))
    try:
        return list(questions(asked))
    except ValueError as error:
        raise WrongUse(Problem("lookup", str(error))) from None


def _within(arguments: Mapping[str, Any]) -> float:
    within: Any = arguments.get("within")
    number = type(within) in {int, float} and math.isfinite(within)
    if not number or arguments.keys() != {"within"} or not 0 < within <= LONGEST:
        what = f"takes `within`, seconds above 0 and up to {LONGEST:.0f}"
        raise WrongUse(Problem("expiring", what))
    return float(within)
