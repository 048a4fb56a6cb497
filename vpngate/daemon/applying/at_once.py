# SPDX-License-Identifier: GPL-2.0-or-later
"""What is urgent: done beside whatever else is under way.

Knows what is not finished yet, and that a failure of it is told and ends nothing; does
not know what is done.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection

from vpngate.errors import VpngateError
from vpngate.log_events import named

_log = logging.getLogger(__name__)


class AtOnce:
    """All that was asked for and is not finished."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[bool]] = set()

    def do(self, work: Callable[[], Awaitable[None]]) -> None:
        """Begin with some work, and wait for nothing."""
        self._under_way.add(task := asyncio.create_task(_told(work)))
        task.add_done_callback(self._under_way.discard)

    @property
    def under_way(self) -> frozenset[asyncio.Task[bool]]:
        """What is not finished at this moment."""
        return frozenset(self._under_way)

    async def finished(self, works: Collection[asyncio.Task[bool]] = ()) -> bool:
        """Wait for these, or all that is under way now; whether they were done."""
        works = works or self.under_way
        if works:
            await asyncio.wait(works)
        return all(not work.cancelled() and work.result() for work in works)

    def cancel(self) -> None:
        """Break all of it off."""
        for task in self._under_way:
            task.cancel()


async def _told(work: Callable[[], Awaitable[None]]) -> bool:
    """Do it; where it fails, whoever asked tries again in his turn, and tells.

    Whether it did not.
    """
    try:
        await work()
    except VpngateError as error:
        for line in error.lines:
            _log.warning("not at once: %s", line, extra=named("not_at_once"))
    except Exception:  # noqa: BLE001 - told, and another turn is still to come
        _log.exception(
            "not at once: this should not have happened",
            extra=named("unforeseen", during="at once"),
        )
    else:
        return True
    return False
