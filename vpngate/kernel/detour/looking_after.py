# SPDX-License-Identifier: GPL-2.0-or-later
"""What has become of verdicts: the kernel ends them, and tells nobody.

Knows when to ask about one, and what the answer means; does not know classes. One
thread alone may use it. Times are of a clock that never jumps, in seconds.
"""

import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from vpngate.kernel.detour.sweeps import taken
from vpngate.kernel.detour.verdict_maps import Committing, FlowStore
from vpngate.kernel.detour.verdicts import FlowId, HeldVerdict, Verdicts
from vpngate.kernel.table.pace import Pace
from vpngate.kernel.wire.channel import Change
from vpngate.kernel.wire.failures import Rejected


class LookingAfter:
    """Asks the kernel about verdicts that may have ended."""

    def __init__(self, table: Committing, maps: FlowStore, verdicts: Verdicts) -> None:
        self._table = table
        self._maps = maps
        self._verdicts = verdicts
        self._asked = Pace(200, 50, 1000)  # flows that the kernel is asked about
        self._asking: deque[FlowId] = deque()  # those whose verdicts may have ended

    def advance(self, now: float) -> bool:
        """Learn of a few verdicts whether they have ended; whether more may have."""
        self._asking.extend(self._verdicts.take_due(now))
        keys = list(dict.fromkeys(taken(self._asking, self._asked.size)))
        begin = time.monotonic()
        try:
            self._settle_all(keys, now)
        except Exception:
            for key in keys:  # or nobody would ever ask about them again
                self._verdicts.postpone(key, now)
            raise
        self._asked.took(len(keys), time.monotonic() - begin)
        return bool(self._asking)

    def _settle_all(self, keys: Sequence[FlowId], now: float) -> None:
        known = map(self._verdicts.get, keys)
        pairs = [(k, held) for k, held in zip(keys, known, strict=True) if held]
        found = self._maps.found([held for _, held in pairs])
        mending: list[Change] = []
        for (key, held), answers in zip(pairs, found, strict=True):
            if changes := self._settle(key, held, answers, now):
                mending += changes
                self._verdicts.postpone(key, now)  # to see that it is mended
        with suppress(Rejected):  # one of them ended this very moment
            self._table.commit(mending)

    def _settle(
        self,
        key: FlowId,
        held: HeldVerdict,
        answers: Sequence[bytes | None],
        now: float,
    ) -> list[Change]:
        """Take in what the kernel still has of a verdict; the changes that mend it.

        There is something to mend when packets came one way only for a while, or
        when one was in flight as the verdict was ended.
        """
        pairs = zip(self._maps.elements_of(held), answers, strict=True)
        alive = [(place, answer) for place, answer in pairs if answer is not None]
        if not alive:
            self._verdicts.forget(key)
            return []
        if not held.ended:
            left = [self._maps.remaining(answer) for _, answer in alive]
            self._verdicts.postpone(key, now + max(left))
            if len(alive) == len(answers):
                return []
        changes: list[Change] = []
        for (name, element), _ in alive:
            changes += self._maps.deleting(name, [element])
        return changes if held.ended else changes + self._maps.adding(held)
