# SPDX-License-Identifier: GPL-2.0-or-later
"""The sources in their order, each asked until it answers or cannot.

Knows which source to ask, how often, and with what pauses; does not know what makes
an answer acceptable, what a registry holds, when to refresh, or what to keep.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from random import Random

from vpngate.errors import FeedFault, InvalidRegistry, Problem, VpngateError
from vpngate.feed.answer import Answer, Fetched, Validators
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

    def fetch(
        self,
        previous: Validators | None = None,
        examine: Callable[[Fetched], object] | None = None,
    ) -> Answer:
        """The answer of the first source that has an acceptable one.

        previous  the validators of the registry that stands; None asks for the whole
                  registry, and accepts an older signature too
        examine   raises VpngateError if this registry must not be used (it does not
                  parse, the guard refuses it); then the next source is asked

        NoSourceAnswered with every reason if none has; FeedFault after `cancel`.
        """
        faults: list[VpngateError] = []
        self.check("registry")  # a fetch before may take its time to end
        with self._turn:
            for source in self._settings.sources:
                try:
                    answer = self._ask(source, previous or Validators())
                    if examine is not None and isinstance(answer, Fetched):
                        examine(answer)
                except VpngateError as refusal:
                    if self._cancelled.is_set():
                        raise
                    faults.append(refusal)
                except Exception as error:  # noqa: BLE001 - of one source, not the end
                    faults.append(_unforeseen(source, error))
                else:
                    return replace(answer, faults=tuple(faults))
        raise NoSourceAnswered(faults)

    def cancel(self) -> None:
        """Ends a running fetch at once, and every later one: this feed is done."""
        self._cancelled.set()
        if (deadline := self._deadline) is not None:
            deadline.cancel()

    def check(self, where: str) -> None:
        """FeedFault if it was cancelled: for whoever works on what was fetched."""
        if self._cancelled.is_set():
            raise given_up(where)

    def _ask(self, source: RegistrySource, previous: Validators) -> Answer:
        """One source, again while what failed may be over soon."""
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


def _unforeseen(source: RegistrySource, error: Exception) -> InvalidRegistry:
    """What nobody thought of: the next source is asked, and one line tells."""
    what = f"cannot be read: {type(error).__name__}: {error}"
    remedy = "this should not have happened; report it"
    return InvalidRegistry([Problem(str(source), what, remedy)])
