# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may be connected to the control socket at once, and who gives way.

Knows fair shares, and that there is always a place left for a word that cannot wait;
does not know sockets, nor what anybody wants.
"""

import asyncio
from enum import Enum, auto

CONNECTION_LIMIT = 32
UID_SHARE = 8  # connections; so that no one user keeps the others out
# Beside these: reloads that wait for a source may have taken all others.
URGENT_LIMIT = 8

_Connection = asyncio.Task[None]


class Seat(Enum):
    """What a caller may do."""

    ANY = auto()  # ask for whatever there is
    URGENT = auto()  # say one word that cannot wait
    NONE = auto()


class Callers:
    """Those that are connected; of each the task that converses with it."""

    def __init__(self) -> None:
        self._all: dict[_Connection, int] = {}  # with the caller's uid
        self._urgent: dict[_Connection, None] = {}
        self._idle: dict[_Connection, None] = {}  # the longest first

    @property
    def all(self) -> list[_Connection]:
        """Whoever is connected."""
        return [*self._all, *self._urgent]

    def admit(self, caller: _Connection, uid: int) -> Seat:
        """Let one more of this user in, or not; who says nothing gives way first."""
        if self._has_room(uid):
            self._all[caller] = uid
            return Seat.ANY
        if len(self._urgent) < URGENT_LIMIT or self._give_way(list(self._urgent)):
            self._urgent[caller] = None
            return Seat.URGENT
        return Seat.NONE

    def is_silent(self, caller: _Connection) -> None:
        """It is its turn to say something."""
        self._idle[caller] = None

    def has_asked(self, caller: _Connection) -> None:
        """It has said something, and is answered."""
        self._idle.pop(caller, None)

    def leave(self, caller: _Connection) -> None:
        """It is gone."""
        self._all.pop(caller, None)
        self._urgent.pop(caller, None)
        self._idle.pop(caller, None)

    def _has_room(self, uid: int) -> bool:
        mine = [task for task, whose in self._all.items() if whose == uid]
        if len(mine) >= UID_SHARE:
            return self._give_way(mine)
        if len(self._all) >= CONNECTION_LIMIT:
            return self._give_way(list(self._all))
        return True

    def _give_way(self, among: list[_Connection]) -> bool:
        """Have the one go that has been silent longest; whether there is one."""
        for caller in self._idle:
            if caller in among:
                self.leave(caller)
                caller.cancel()
                return True
        return False
