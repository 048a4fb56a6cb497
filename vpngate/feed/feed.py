# SPDX-License-Identifier: GPL-2.0-or-later
"""The sources in their order, each asked until it answers or cannot.

Knows which source to ask, how often, and with what pauses; does not know what makes
an answer acceptable, what a registry holds, when to refresh, or what to keep.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random

from vpngate.errors import (
    FeedFault,
    InvalidRegistry,
    Problem,
    VpngateError,
    no_memory,
)
from vpngate.feed.answer import Answer, Validators
from vpngate.feed.faults import TRANSIENT, NoSourceAnswered, given_up
from vpngate.feed.settings import FeedSettings, LocalFile, RegistrySource
from vpngate.feed.sources.deadline import Deadline
from vpngate.feed.sources.delivery import deliver


class Feed:
    """Fetches registries. Blocking; `cancel` may come from another thread."""

    def __init__(self, settings: FeedSettings, random: Random | None = None) -> None:
        self._settings = settings
        self._random = random or Random()  # noqa: S311  (varies pauses, no secret)
        self._turn = threading.Lock()
        self._cancelled = threading.Event()
        self._deadline: Deadline | None = None

    @contextmanager
    def asking(self, previous: Validators | None = None) -> Iterator["Answers"]:
        """The answers of the sources, for as long as somebody looks at them.

        previous  the validators of the registry that stands; None asks for the whole
                  registry, and accepts an older signature too

        FeedFault after `cancel`. Who asks at the same time waits for its turn.
        """
        self.check("registry")  # a fetch before may take its time to end
        with self._turn:
            yield Answers(self, previous or Validators())

    def cancel(self) -> None:
        """Ends a running fetch at once, and every later one: this feed is done."""
        self._cancelled.set()
        if (deadline := self._deadline) is not None:
            deadline.cancel()

    def check(self, where: str) -> None:
        """FeedFault if it was cancelled: for whoever works on what was fetched."""
        if self._cancelled.is_set():
            raise given_up(where)

    @property
    def cancelled(self) -> bool:
        """Whether this feed is done."""
        return self._cancelled.is_set()

    @property
    def sources(self) -> tuple[RegistrySource, ...]:
        """Whom to ask, in this order."""
        return self._settings.sources

    def ask(self, source: RegistrySource, previous: Validators) -> Answer:
        """One source's answer; it is asked again while what failed may be over soon."""
        limits = self._settings.limits
        pause = limits.file_pause if isinstance(source, LocalFile) else limits.pause
        self._deadline = deadline = Deadline(limits.deadline)
        if self._cancelled.is_set():
            deadline.cancel()
        for attempt in range(limits.attempts):
            deadline.check(str(source))
            try:
                return deliver(
                    source, self._settings, previous, deadline, fresh=attempt > 0
                )
            except FeedFault as failure:
                failed = failure
            length = pause * 2**attempt * self._random.uniform(0.5, 1.5)
            last = attempt == limits.attempts - 1
            if last or failed.reason not in TRANSIENT or length > deadline.remaining:
                raise failed
            deadline.wait(length, str(source))
        raise AssertionError("attempts is at least 1")  # pragma: no cover


class Answers:
    """What the sources say, one after the other, each asked when it is its turn.

    Who leaves the loop has taken the latest answer; who does not, says why:

        for answer in answers:
            try:
                return read(answer)
            except Exception as error:
                answers.refuse(error)
    """

    def __init__(self, feed: Feed, previous: Validators) -> None:
        self._feed = feed
        self._previous = previous
        self._asked: RegistrySource | None = None
        self._faults: list[VpngateError] = []

    def __iter__(self) -> Iterator[Answer]:
        """Each with what stands against the sources before it.

        NoSourceAnswered with every reason if none was taken; FeedFault after `cancel`.
        """
        for source in self._feed.sources:
            self._asked = source
            try:
                answer = self._feed.ask(source, self._previous)
            except Exception as error:  # noqa: BLE001 - of one source, not the end
                self.refuse(error)
            else:
                yield replace(answer, faults=tuple(self._faults))
        raise NoSourceAnswered(self._faults)

    def refuse(self, error: Exception) -> None:
        """Say why the latest answer is not taken; then the next source is asked.

        Raises it instead if it tells that the feed was cancelled.
        """
        if not isinstance(error, VpngateError):
            self._faults.append(_unforeseen(str(self._asked), error))
        elif self._feed.cancelled:
            raise error
        else:
            self._faults.append(error.alone())  # it is told for hours


def _unforeseen(source: str, error: Exception) -> VpngateError:
    """What nobody thought of: one line tells."""
    if isinstance(error, MemoryError):
        return no_memory(source)
    what = f"cannot be read: {type(error).__name__}: {error}"
    remedy = "this should not have happened; report it"
    return InvalidRegistry([Problem(source, what, remedy)])
