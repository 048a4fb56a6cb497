# SPDX-License-Identifier: GPL-2.0-or-later
"""Brings the registry: from its sources or the disk, through the guard.

Knows the order of a load (fetch, verify, parse, guard, carry over, make room on disk)
and that a failure at any step means that nothing has happened; does not know how a
registry is put in force, after which it is kept. Blocking: the daemon lends a thread.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from vpngate.config.sections import RegistrySection
from vpngate.daemon.supply.memory import Memory, read_memory
from vpngate.daemon.supply.registry_keys import (
    feed_settings,
    guard_settings,
    load_limits,
)
from vpngate.daemon.wall_clock import WallClock
from vpngate.errors import (
    FeedFault,
    InvalidRegistry,
    Problem,
    RegistryRefused,
    VpngateError,
)
from vpngate.feed import (
    Answer,
    Answers,
    Feed,
    Fetched,
    LastGood,
    NoSourceAnswered,
    Reason,
    Store,
    Validators,
)
from vpngate.feed.answer import Condition
from vpngate.registry import (
    Accept,
    Loaded,
    Registry,
    carry_over,
    guard,
    load,
    recall_departed,
    remember_departed,
)
from vpngate.timekeeping.moments import span_of

ASK_WHOLE_AFTER = 11  # refreshes of which each may cost no more than a small answer
_NOT_KEPT = "without it a start needs a source"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivery:
    """A registry that may be put in force: where from, and how many bad rows.

    last_good  what to keep on disk once it is in force; None if it comes from there
    refusal    what the sources said, if it comes from the disk because of that
    succeeded  when a source last had it, in seconds since 1970, if it comes from the
               disk and that is known
    """

    registry: Registry
    source: str
    rejected: int
    last_good: LastGood | None = None
    refusal: VpngateError | None = None
    succeeded: float | None = None


class Keeper:
    """Fetches registries, and remembers the last good one.

    `clock` tells the time when it is needed (a fetch may take minutes), and is
    remembered beside the registry. `faults` is what stood against the sources that the
    last fetch had to pass over.
    """

    faults: tuple[VpngateError, ...] = ()

    def __init__(
        self,
        settings: RegistrySection,
        clock: WallClock,
        validators: Validators | None = None,
    ) -> None:
        """InvalidConfig if the sources cannot be used.

        `validators` of the registry in force, if this keeper takes over from another.
        """
        self.settings = settings
        self._clock = clock
        sources = feed_settings(settings, "registry")
        self._feed = Feed(sources)
        self._store = Store(Path(settings.state), sources.public_key)
        self.validators = validators
        self._unasked = 0  # fetches since the whole was asked for

    def cancel(self) -> None:
        """End a fetch that is running in another thread, and any later one.

        A step of its work that takes long, like parsing, is finished first.
        """
        self._feed.cancel()

    def boot(self) -> Delivery:
        """The registry to start with: from the sources, else the last good one.

        Raises what stands against the sources if there is no last good one either.
        """
        last = self._last_good()
        try:
            fetched = self.fetch(last.registry if last else None, keep=False)
        except NoSourceAnswered as none:
            if last is None:
                raise
            for line in none.lines:
                _log.warning("%s; starting with the last good registry", line)
            return replace(last, refusal=none)
        if fetched is None:
            if last is None:  # a source cannot say "not modified" to nobody
                raise InvalidRegistry([Problem("registry", "no source has one")])
            return replace(last, succeeded=None)  # a success of now
        return fetched

    def fetch(
        self,
        current: Registry | None,
        *,
        accept: Collection[Accept] = (),
        keep: bool = True,
    ) -> Delivery | None:
        """A registry that may take the place of `current`; None if that still stands.

        `accept` is a person's word: what the guard lets pass this once, and whether an
        older signature counts. With `keep` a registry for which there is no room on
        disk is a failure, else a warning. Raises NoSourceAnswered or FeedFault.
        """
        self.faults = ()
        previous = None if Accept.OLDER in accept else self._asked_with()
        with self._feed.asking(previous) as answers:
            answer, loaded = self._taken(answers, current, accept)
        self._unasked = 0 if self._unasked >= ASK_WHOLE_AFTER else self._unasked + 1
        self.faults = answer.faults
        for fault in answer.faults:
            for line in fault.lines:
                _log.warning("%s; asking the next source", line)
        if not isinstance(answer, Fetched) or loaded is None:
            self.validators = answer.validators
            self._remember_again(current)
            return None
        return self._accept(answer, loaded, current, keep=keep)

    def _taken(
        self, answers: Answers, current: Registry | None, accept: Collection[Accept]
    ) -> tuple[Answer, Loaded | None]:
        """The first answer that may be used, and the registry in it if it has one."""
        for answer in answers:
            if not isinstance(answer, Fetched):
                return answer, None
            try:
                return answer, self._examined(answer, current, accept)
            except Exception as error:  # noqa: BLE001 - of one source, not the end
                answers.refuse(error)
        raise AssertionError("answers end by a fault")  # pragma: no cover

    def _examined(
        self, answer: Fetched, current: Registry | None, accept: Collection[Accept]
    ) -> Loaded:
        """The registry in an answer; VpngateError if it must not be used."""
        loaded = self._load(answer.data, answer.source)
        self._feed.check(answer.source)
        settings, now = guard_settings(self.settings), self._clock.now()
        try:
            guard(current, loaded.registry, settings, now, accept)
        except RegistryRefused as refused:
            raise RegistryRefused(
                refused.reason, f"{answer.source}: {refused}"
            ) from None
        return loaded

    def _asked_with(self) -> Validators | None:
        """What to ask with: now and then for the whole, until it is had.

        A server that says "not modified" whatever is asked is found out.
        """
        if self.validators is None or self._unasked < ASK_WHOLE_AFTER:
            return self.validators
        return replace(self.validators, condition=Condition())

    def _accept(
        self, answer: Fetched, loaded: Loaded, current: Registry | None, *, keep: bool
    ) -> Delivery:
        registry = loaded.registry
        self._feed.check(answer.source)
        if current is not None:
            grace = self.settings.removal_grace
            registry = carry_over(current, registry, grace, self._clock.now())
            self._feed.check(answer.source)
        memory = self._memory(registry)
        fresh = LastGood(answer.data, answer.signature, answer.validators, memory)
        last_good: LastGood | None = fresh
        try:
            self._store.stage(fresh)
        except FeedFault as fault:
            if keep:
                raise
            _log.warning("%s; %s", fault, _NOT_KEPT)
            last_good = None
        for problem in loaded.problems:
            _log.warning("%s: %s; the row is left out", answer.source, problem)
        self.validators = answer.validators
        return Delivery(registry, answer.source, loaded.rejected, last_good)

    def keep(self, delivery: Delivery) -> None:
        """Have a registry that is in force be the last good one on disk.

        There was room for it (`fetch`), so to fail now is no more than a warning.
        """
        if delivery.last_good is not None:
            try:
                self._store.save(delivery.last_good)
            except FeedFault as fault:
                _log.warning("%s; %s", fault, _NOT_KEPT)

    def _last_good(self) -> Delivery | None:
        try:
            last = self._store.load()
            if last is None:
                return None
            loaded = self._load(last.data, "the last good registry")
            memory = read_memory(last.memory)
            self._clock.restore(memory.clock)
            registry = recall_departed(loaded.registry, memory.departed)
        except FeedFault as fault:
            _log.warning("%s", fault)
            if fault.reason == Reason.STATE_CORRUPTED:
                self._store.set_aside()
            return None
        except (InvalidRegistry, ValueError, TypeError, ArithmeticError) as fault:
            where = self.settings.state
            _log.warning("%s: what was kept is no use, and set aside: %s", where, fault)
            self._store.set_aside()
            return None
        self.validators, self._unasked = last.validators, memory.unasked
        return Delivery(
            registry,
            last.validators.source,
            loaded.rejected,
            succeeded=memory.succeeded,
        )

    def _memory(self, registry: Registry) -> bytes:
        """What a later run has to know, now that a source has had the registry."""
        return Memory(
            self._clock.dump(),
            remember_departed(registry),
            span_of(self._clock.now()).latest,
            self._unasked,
        ).dump()

    def _remember_again(self, registry: Registry | None) -> None:
        """Bring the clock in the memory up to date; to fail costs nothing now.

        Where the memory is damaged the next fetch brings the whole registry, which
        mends it.
        """
        if registry is None or self.validators is None:
            return
        try:
            self._store.remember(self._memory(registry), self.validators)
        except FeedFault as fault:
            _log.warning("%s; %s", fault, _NOT_KEPT)
            if fault.reason != Reason.STATE_UNWRITABLE:
                self.validators = self.validators.without_content()

    def _load(self, data: bytes, source: str) -> Loaded:
        limits = load_limits(self.settings)
        try:
            return load(
                data,
                limits=limits,
                now=span_of(self._clock.now()).latest,
                look=lambda: self._feed.check(source),
            )
        except InvalidRegistry as invalid:
            raise InvalidRegistry(
                replace(each, where=f"{source}: {each.where}")
                for each in invalid.problems
            ) from None
