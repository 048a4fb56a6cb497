# SPDX-License-Identifier: GPL-2.0-or-later
"""The registries that a configuration names: its sources', and the last good one.

Knows how an answer becomes a registry, and whom the guard and the grace compare it
with; does not know which one is in force, what the sources are asked with, nor when
anything is kept. Blocking; `cancel` may come from another thread.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vpngate.config.sections import RegistrySection
from vpngate.errors import RegistryRefused, VpngateError
from vpngate.feed import Answers, Feed, Fetched, LastGood, NotModified, Store
from vpngate.feed.answer import Validators
from vpngate.registry import (
    Accept,
    Loaded,
    Objection,
    Registry,
    carry_over,
    guard,
    objections,
    recall_departed,
)
from vpngate.supply.memory import Memory, read_memory
from vpngate.supply.reading import insist, read
from vpngate.supply.registry_keys import (
    feed_settings,
    guard_settings,
    load_limits,
)
from vpngate.timekeeping.moments import When, span_of

_LAST_GOOD = "the last good registry"


@dataclass(frozen=True)
class Offer:
    """A registry as a source has it now: verified and read, not yet judged."""

    answer: Fetched
    loaded: Loaded

    @property
    def source(self) -> str:
        """Whose it is, fit for a message."""
        return self.answer.source

    @property
    def registry(self) -> Registry:
        """What is in it."""
        return self.loaded.registry

    @property
    def faults(self) -> tuple[VpngateError, ...]:
        """Why the sources before this one did not deliver."""
        return self.answer.faults


@dataclass(frozen=True)
class Kept:
    """The last good registry as it stands on disk, with what is remembered beside."""

    last_good: LastGood
    loaded: Loaded
    memory: Memory

    def recalled(self) -> Registry:
        """The registry with those who have left it; ValueError on damage."""
        return recall_departed(self.loaded.registry, self.memory.departed)


class Offers:
    """What the sources offer, one after the other; see `feed.Answers`."""

    def __init__(self, supply: "Supply", answers: Answers) -> None:
        self._supply = supply
        self._answers = answers

    def __iter__(self) -> Iterator[Offer | NotModified]:
        """Each that can be read, or the word that what stands still stands.

        NoSourceAnswered with every reason if none was taken; FeedFault after a stop.
        """
        for answer in self._answers:
            if isinstance(answer, NotModified):
                yield answer
                continue
            try:
                loaded = self._supply.read(answer.data, answer.source)
            except Exception as error:  # noqa: BLE001 - of one source, not the end
                self._answers.refuse(error)
            else:
                yield Offer(answer, loaded)

    def registries(self) -> Iterator[Offer]:
        """The same for who asked with nothing, so that nothing can still stand."""
        return (each for each in self if isinstance(each, Offer))

    def refuse(self, error: Exception) -> None:
        """Why the latest one is not taken; the next source is asked."""
        self._answers.refuse(error)


class Supply:
    """One `[registry]` of a configuration at work; `store` has its last good one."""

    def __init__(
        self,
        settings: RegistrySection,
        now: Callable[[], When],
        where: str = "registry",
    ) -> None:
        """InvalidConfig, naming `where`, if the sources cannot be used.

        `now` tells the time when it is needed: a fetch may take minutes.
        """
        self._now = now
        self._limits = load_limits(settings)
        self._guard = guard_settings(settings)
        sources = feed_settings(settings, where)
        self._feed = Feed(sources)
        self.store = Store(Path(settings.state), *sources.public_keys)

    def cancel(self) -> None:
        """End what is running in another thread, and all that comes later."""
        self._feed.cancel()

    def check(self, where: str) -> None:
        """FeedFault if it was cancelled."""
        self._feed.check(where)

    @contextmanager
    def offers(self, previous: Validators | None = None) -> Iterator[Offers]:
        """What the sources have now; `previous` are the validators of what stands."""
        with self._feed.asking(previous) as answers:
            yield Offers(self, answers)

    def read(self, data: bytes, where: str) -> Loaded:
        """The registry in bytes of a source; InvalidRegistry, or FeedFault if stopped.

        A step of this work that takes long is finished first.
        """
        moment = span_of(self._now()).latest
        return read(data, where, self._limits, moment, lambda: self._feed.check(where))

    def guard(
        self, offer: Offer, current: Registry | None, accept: Collection[Accept]
    ) -> None:
        """RegistryRefused if it may not take the place of `current`.

        `accept` is a person's word: what is let pass this once. FeedFault if stopped.
        """
        self.check(offer.source)
        try:
            guard(current, offer.registry, self._guard, self._now(), accept)
        except RegistryRefused as refused:
            raise RegistryRefused(
                refused.reason, f"{offer.source}: {refused}"
            ) from None

    def insist(self, offer: Offer) -> Registry:
        """The registry, unless no daemon would begin with it: then RegistryRefused."""
        return insist(offer.registry, offer.source, self._now(), self._guard)

    def objections(self, offer: Offer, last: Registry | None) -> tuple[Objection, ...]:
        """Everything that speaks against it after `last`."""
        return objections(last, offer.registry, self._guard, self._now())

    def carry_over(self, current: Registry, registry: Registry) -> Registry:
        """The registry with those whom only `current` has, in their grace."""
        return carry_over(current, registry, self._limits.grace, self._now())

    def last_good(self) -> Kept | None:
        """What is kept on disk; None if nothing is.

        FeedFault if it cannot be had, InvalidRegistry or ValueError if it is no use.
        """
        last = self.store.load()
        if last is None:
            return None
        loaded = self.read(last.data, _LAST_GOOD)
        return Kept(last, loaded, read_memory(last.memory))
