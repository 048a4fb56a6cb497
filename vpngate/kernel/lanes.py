# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's thread, and the two lanes that lead to it.

Knows that what is urgent overtakes everything that waits, and that what is done at
this moment is finished first: so nobody may keep the thread for long. Does not know
what is done. One step at a time, in the order of its lane.
"""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from vpngate.kernel.wire.failures import in_one_line
from vpngate.log_events import named
from vpngate.prefixes.intervals import Intervals

_P = ParamSpec("_P")
_R = TypeVar("_R")

logger = logging.getLogger(__name__)


class Lanes:
    """A thread that does what it is told, from `open` to `close`."""

    def __init__(self) -> None:
        self._urgent: deque[Callable[[], object]] = deque()
        self._waiting: deque[Callable[[], object]] = deque()
        # One for each step that waits in either lane; at last, that there is none.
        self._turns: SimpleQueue[bool] = SimpleQueue()
        self._taking = threading.Lock()
        self._open = False

    @property
    def are_open(self) -> bool:
        """Whether there is a thread."""
        return self._open

    def open(self) -> None:
        """Start the thread."""
        self._open = True
        threading.Thread(target=self._run, name="vpngate-kernel", daemon=True).start()

    def close(self) -> None:
        """Take nothing more; what waits is still done, and the thread ends."""
        with self._taking:
            self._open = False
            self._turns.put(False)

    async def do(
        self, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs
    ) -> _R:
        """What `work` returns, in its turn; also when cancelled, it gets done."""
        return await self._outcome(self._waiting, work, *args, **kwargs)

    async def hurry(
        self, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs
    ) -> _R:
        """The same before everything that waits and is not urgent."""
        return await self._outcome(self._urgent, work, *args, **kwargs)

    def urge(
        self, work: Callable[_P, object], *args: _P.args, **kwargs: _P.kwargs
    ) -> None:
        """The same from any thread, without waiting for it or for its errors."""
        self._put(self._urgent, partial(self._settled, work, *args, **kwargs))

    async def _outcome(
        self,
        lane: deque[Callable[[], object]],
        work: Callable[_P, _R],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _R:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[_R] = loop.create_future()

        def tell(result: Any, error: BaseException | None) -> None:
            if outcome.done():  # whoever waited was cancelled
                return
            if error is None:
                outcome.set_result(result)
            else:
                outcome.set_exception(error)

        def step() -> None:
            settled = self._settled(work, *args, **kwargs)
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits
                loop.call_soon_threadsafe(tell, *settled)

        self._put(lane, step)
        return await outcome

    @staticmethod
    def _settled(
        work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs
    ) -> tuple[_R | None, BaseException | None]:
        """What `work` returns, or else the error that it raises."""
        named_by = getattr(work, "func", work)  # of a partial
        step = getattr(named_by, "__name__", "work").replace("_", " ")
        try:
            with in_one_line(f"complete the step '{step}'"):
                return work(*args, **kwargs), None
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            return None, error

    def _put(
        self, lane: deque[Callable[[], object]], step: Callable[[], object]
    ) -> None:
        with self._taking:
            if not self._open:
                raise RuntimeError("the data plane has not been started")
            lane.append(step)
            self._turns.put(True)

    def _run(self) -> None:
        while self._turns.get():
            (self._urgent or self._waiting).popleft()()


def each(*steps: Callable[[], None]) -> None:
    """Do one after the other, each whatever else failed: to clear up."""
    for step in steps:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - the rest must go, too
            logger.error(  # noqa: TRY400 - in one line
                "cannot clear up (%s): %s",
                step.__name__,
                error,
                extra=named("clearing_up_failed"),
            )


class OffTheLane:
    """What of a plane's steps needs no turn of the thread, or many short ones.

    Nothing, where a plane does not say otherwise.
    """

    def look(self) -> None:
        """Ask what a repair will want to know; any thread, while nothing changes."""

    def lacks_room(self, addresses: Intervals) -> bool:  # noqa: ARG002
        """Whether `make_room` is due before these are protected; in any thread."""
        return False

    def make_room(self, addresses: Intervals) -> None:
        """Make ahead what protecting these will need; in any thread."""

    def turning_off(self, work: Callable[[], None]) -> Callable[[], None]:
        """What is to be done in its turn; off at once, if that can be; any thread."""
        return work

    def stand_few(self) -> bool:
        """Do a little of what is left to do at interfaces; whether more is."""
        return False

    def look_again(self) -> bool:
        """Whether another look is due at once; asked once after each."""
        return False

    def leave_few(self) -> bool:
        """Do a little of what has to be taken down at last; whether more has."""
        return False
