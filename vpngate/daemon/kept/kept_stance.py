# SPDX-License-Identifier: GPL-2.0-or-later
"""The stance on disk, so that what was allowed survives a crash and no longer.

Knows its file in the state folder, and that what cannot be read allows nothing; does
not know what a stance means (`stance`).
"""

import asyncio
import logging
from pathlib import Path

from vpngate.daemon.threads import in_thread
from vpngate.errors import FeedFault
from vpngate.feed.state.statefolder import StateFolder
from vpngate.log_events import named
from vpngate.stance import (
    Cause,
    Configured,
    Denied,
    Restart,
    Stance,
    StanceEvent,
    Suspend,
    Why,
    first_stance,
    next_stance,
    of_text,
    to_text,
)
from vpngate.timekeeping.clock import Reading

NAME = "stance.json"
_MAX_BYTES = 64 * 1024
_WHAT = "the stance"

_log = logging.getLogger(__name__)


class KeptStance:
    """The file in a state folder, and the stance that is `kept` there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writing = asyncio.Lock()
        self.kept: Stance | None = None

    def begin(self, configured: Configured, suspend: str, at: Reading) -> Stance:
        """The stance that a start begins with. Blocking.

        configured  what the file says
        suspend     why the registry wants nobody slowed; empty where it does not
        """
        stance = self._load(configured, at)
        events: list[StanceEvent] = [Restart(), configured]
        if suspend:
            events.append(Suspend(suspend))
        for event in events:
            following = next_stance(stance, event, at)
            if not isinstance(following, Denied):
                stance = following
        return stance

    def _load(self, configured: Configured, at: Reading) -> Stance:
        """The one that an earlier run has kept; what the file says if none was.

        If it cannot be read, nobody knows what was allowed.
        """
        try:
            with StateFolder.of_one_file(self._folder, _WHAT) as folder:
                content = folder.read(NAME, _MAX_BYTES)
            if content is None:
                return first_stance(*configured, at.wall)
            self.kept = kept = of_text(content.decode())
        except (FeedFault, ValueError) as error:
            where = self._folder / NAME
            _log.warning(
                "%s: %s; observing until a person acts",
                where,
                error,
                extra=named("stance_unreadable"),
            )
            why = Why(Cause.UNREADABLE)
            observing = first_stance(*configured, at.wall)
            return observing.observing(why, at)
        return kept

    def has(self, stance: Stance) -> bool:
        """Whether this one is on disk, and none is on its way there."""
        return stance == self.kept and not self._writing.locked()

    async def keep(self, stance: Stance) -> None:
        """Have a stance on disk; FeedFault if that cannot be, and the old one stays."""
        async with self._writing:
            if stance != self.kept:
                await in_thread(self._write, to_text(stance).encode())
                self.kept = stance

    async def forget(self) -> None:
        """Have a stance on disk that allows nothing; takes no room there.

        FeedFault if not even that can be had.
        """
        async with self._writing:
            self.kept = None
            await in_thread(self._empty)

    def _empty(self) -> None:
        with StateFolder.of_one_file(self._folder, _WHAT) as folder:
            folder.empty(NAME)

    def _write(self, content: bytes) -> None:
        with StateFolder.of_one_file(self._folder, _WHAT, make=True) as folder:
            folder.replace(NAME, content)
