# SPDX-License-Identifier: GPL-2.0-or-later
"""Does one task for many items in several processes, with the results in order.

Knows processes and how they end; does not know the task.
"""

import ctypes
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from vpngate.errors import UnreadableInput

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

MOST_WAITING = 300  # whoever calls may have a file open for each: 1,024 are usual
_PR_SET_PDEATHSIG = 1  # prctl(2)
_task: Callable[[Any], Any] | None = None  # of a process that was begun here


def in_order(
    task: Callable[[_Item], _Result], items: Iterable[_Item], jobs: int
) -> Generator[_Result, None, None]:
    """What `task` returns of each item, in `jobs` processes, in the items' order.

    The processes begin as copies of this one, so that the task may be anything; what
    it raises is raised here. None of them outlives this process or this iterator. No
    more than `MOST_WAITING` items are taken before their turn. UnreadableInput if one
    of the processes is ended from outside, or has no memory left.
    """
    executor = ProcessPoolExecutor(
        jobs, multiprocessing.get_context("fork"), _begin, (task, os.getpid())
    )
    done = False
    left = iter(items)
    waiting: deque[Future[Any]] = deque()
    try:
        with _uninterrupted():
            waiting += (
                executor.submit(_do, item) for item in islice(left, MOST_WAITING)
            )
        while waiting:
            result = waiting.popleft().result()
            with _uninterrupted():
                waiting += (executor.submit(_do, item) for item in islice(left, 1))
            yield result
        done = True
    except BrokenProcessPool as error:
        raise UnreadableInput(
            "a process that read captures was ended from outside; "
            "see whether memory ran out, or try --jobs 1"
        ) from error
    except MemoryError as error:
        raise UnreadableInput(
            "a process that read captures had no memory left; try --jobs 1"
        ) from error
    finally:
        if not done:
            for process in multiprocessing.active_children():
                process.kill()
        executor.shutdown(cancel_futures=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put off Ctrl-C: an executor that has begun by half is never done."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _begin(task: Callable[[Any], Any], parent: int) -> None:
    """Set up a process: it ends at once when interrupted, and with its parent."""
    global _task  # noqa: PLW0603 - a process has one
    _task = task
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _do(item: Any) -> Any:
    return _task(item) if _task else None
