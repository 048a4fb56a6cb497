# SPDX-License-Identifier: GPL-2.0-or-later
"""Brings the registry for the daemon: from its sources or the disk, kept once taken.

Knows what stands and how sources are asked about it, what a start falls back to, and
that there is room on disk before a registry counts; does not know how a registry is
put in force, after which it is kept. Blocking: the daemon lends a thread.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Protocol

from vpngate.config.sections import RegistrySection
from vpngate.errors import FeedFault, InvalidRegistry, Problem, VpngateError
from vpngate.feed import (
    LastGood,
    NoSourceAnswered,
    NotModified,
    Reason,
    Validators,
    for_messages,
)
from vpngate.feed.answer import Condition
from vpngate.log_events import named
from vpngate.registry import Accept, Registry, remember_departed
from vpngate.supply.memory import Memory
from vpngate.supply.offers import Offer, Offers, Supply
from vpngate.supply.reading import left_out
from vpngate.timekeeping.moments import When, span_of

ASK_WHOLE_AFTER = 11  # refreshes of which each may cost no more than a small answer
_NOT_KEPT = "without it a start needs a source"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivery:
    """A registry that may be put in force: where from, and how many bad rows.

    source     fit for a message: without what may be secret in an address
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


class RememberedClock(Protocol):
    """A clock whose doubts outlive a run: they are kept beside the registry."""

    def now(self) -> When:
        """The present."""

    def restore(self, text: str) -> None:
        """Go on from what an earlier run remembered; ValueError if it is damaged."""

    def dump(self) -> str:
        """What to remember, in one line."""


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
        clock: RememberedClock,
        validators: Validators | None = None,
    ) -> None:
        """InvalidConfig if the sources cannot be used.

        `validators` of the registry in force, if this keeper takes over from another.
        """
        self.settings = settings
        self._clock = clock
        self._supply = Supply(settings, clock.now)
        self.validators = validators
        self._unasked = 0  # fetches since the whole was asked for

    def cancel(self) -> None:
        """End a fetch that is running in another thread, and any later one.

        A step of its work that takes long, like parsing, is finished first.
        """
        self._supply.cancel()

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
                _log.warning(
                    "%s; starting with the last good registry",
                    line,
                    extra=named("started_with_last_good"),
                )
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
        with self._supply.offers(previous) as offers:
            taken = self._taken(offers, current, accept)
        self._unasked = 0 if self._unasked >= ASK_WHOLE_AFTER else self._unasked + 1
        self.faults = taken.faults
        for fault in taken.faults:
            for line in fault.lines:
                _log.warning(
                    "%s; asking the next source",
                    line,
                    extra=named("source_passed_over"),
                )
        if not isinstance(taken, Offer):
            self.validators = taken.validators
            self._remember_again(current)
            return None
        return self._accept(taken, current, keep=keep)

    def _taken(
        self, offers: Offers, current: Registry | None, accept: Collection[Accept]
    ) -> Offer | NotModified:
        """The first that may be put in force, or the word that what stands stands."""
        for offer in offers:
            if isinstance(offer, NotModified):
                return offer
            try:
                self._supply.guard(offer, current, accept)
            except Exception as error:  # noqa: BLE001 - of one source, not the end
                offers.refuse(error)
            else:
                return offer
        raise AssertionError("offers end by a fault")  # pragma: no cover

    def _asked_with(self) -> Validators | None:
        """What to ask with: now and then for the whole, until it is had.

        A server that says "not modified" whatever is asked is found out.
        """
        if self.validators is None or self._unasked < ASK_WHOLE_AFTER:
            return self.validators
        return replace(self.validators, condition=Condition())

    def _accept(
        self, offer: Offer, current: Registry | None, *, keep: bool
    ) -> Delivery:
        answer, registry = offer.answer, offer.registry
        self._supply.check(offer.source)
        if current is not None:
            registry = self._supply.carry_over(current, registry)
            self._supply.check(offer.source)
        _ = registry.intervals_digest  # here: it is worked out once, and takes time
        memory = self._memory(registry)
        fresh = LastGood(answer.data, answer.signature, answer.validators, memory)
        last_good: LastGood | None = fresh
        try:
            self._supply.store.stage(fresh)
        except FeedFault as fault:
            if keep:
                raise
            _log.warning("%s; %s", fault, _NOT_KEPT, extra=named("registry_not_kept"))
            last_good = None
        for line in left_out(offer.loaded):
            _log.warning("%s", line, extra=named("rows_left_out"))
        self.validators = answer.validators
        return Delivery(registry, offer.source, offer.loaded.rejected, last_good)

    def keep(self, delivery: Delivery) -> None:
        """Have a registry that is in force be the last good one on disk.

        There was room for it (`fetch`), so to fail now is no more than a warning.
        """
        if delivery.last_good is not None:
            try:
                self._supply.store.save(delivery.last_good)
            except FeedFault as fault:
                _log.warning(
                    "%s; %s", fault, _NOT_KEPT, extra=named("registry_not_kept")
                )

    def _last_good(self) -> Delivery | None:
        try:
            kept = self._supply.last_good()
            if kept is None:
                return None
            self._clock.restore(kept.memory.clock)
            registry = kept.recalled()
            _ = registry.intervals_digest
        except FeedFault as fault:
            _log.warning("%s", fault, extra=named("last_good_unreadable"))
            if fault.reason == Reason.STATE_CORRUPTED:
                self._supply.store.set_aside()
            return None
        except (InvalidRegistry, ValueError, TypeError, ArithmeticError) as fault:
            where = self.settings.state
            _log.warning(
                "%s: what was kept is no use, and set aside: %s",
                where,
                fault,
                extra=named("last_good_unreadable"),
            )
            self._supply.store.set_aside()
            return None
        validators, memory = kept.last_good.validators, kept.memory
        self.validators, self._unasked = validators, memory.unasked
        return Delivery(
            registry,
            for_messages(validators.source),
            kept.loaded.rejected,
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
            self._supply.store.remember(self._memory(registry), self.validators)
        except FeedFault as fault:
            _log.warning("%s; %s", fault, _NOT_KEPT, extra=named("registry_not_kept"))
            if fault.reason != Reason.STATE_UNWRITABLE:
                self.validators = self.validators.without_content()
