# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks for the registry from the event loop, and notes what came of it.

Knows which keeper is in office, that a fetch may be given up, and whom to tell what
sources said; does not know what a registry is for, nor how it is put in force.
"""

import asyncio
from collections.abc import Collection

from vpngate.config.sections import RegistrySection
from vpngate.daemon.threads import in_thread
from vpngate.daemon.wall_clock import WallClock
from vpngate.daemon.wellbeing.freshness import Freshness
from vpngate.errors import VpngateError
from vpngate.feed import NoSourceAnswered, Validators, given_up, reason_of
from vpngate.metrics import Metrics
from vpngate.registry import Accept, Registry
from vpngate.supply.keeper import Delivery, Keeper


class Fetches:
    """The keeper in office at work; `freshness` has what became of it."""

    def __init__(
        self, keeper: Keeper, metrics: Metrics, clock: WallClock, delivery: Delivery
    ) -> None:
        """`delivery` is the registry that `keeper` brought for the start."""
        self.keeper = keeper
        self.freshness = Freshness(clock, delivery.succeeded)
        self._metrics = metrics
        self._clock = clock
        self._running: asyncio.Task[Delivery | None] | None = None

    def note_start(self, delivery: Delivery) -> None:
        """Tell what stood against the sources when the daemon started."""
        if delivery.refusal is not None:
            self._refused(delivery.refusal)
            if delivery.succeeded is not None:
                self._metrics.registry_refreshed(delivery.succeeded)
        self._note_sources(self.keeper)

    def keeper_for(self, settings: RegistrySection) -> Keeper:
        """The keeper in office, or its successor if the sources have changed."""
        if settings == self.keeper.settings:
            return self.keeper
        return Keeper(settings, self._clock, self.keeper.validators)

    def hand_over(self, keeper: Keeper) -> None:
        """Have this keeper in office from now on."""
        if keeper is not self.keeper:
            # Whoever waits for a source that is none any more, waits in vain.
            self.keeper.cancel()
            self.keeper = keeper
            if self._running is not None:
                self._running.cancel()

    async def fetch(
        self, registry: Registry, accept: Collection[Accept]
    ) -> tuple[Delivery | None, VpngateError | None]:
        """What may take the place of `registry`, if anything, or why nothing does."""
        keeper = self.keeper
        self._running = running = asyncio.create_task(
            in_thread(keeper.fetch, registry, accept=accept)
        )
        try:
            await asyncio.wait({running})
        finally:
            running.cancel()  # nobody waits any more
        if running.cancelled():  # another keeper took over
            return None, given_up("registry")
        try:
            delivery = running.result()
        except VpngateError as refusal:
            if keeper is self.keeper:
                self._refused(refusal)
            return None, refusal
        self._note_sources(keeper)
        return delivery, None

    def not_in_force(
        self, keeper: Keeper, standing: Validators | None, error: Exception
    ) -> None:
        """What was fetched stays new: the next fetch must not call it unchanged."""
        keeper.validators = self.keeper.validators = standing
        lines = error.lines if isinstance(error, VpngateError) else [repr(error)]
        self.freshness.failed(lines[0])

    def cancel(self) -> None:
        """End what is running, whatever it waits for."""
        self.keeper.cancel()

    def _note_sources(self, keeper: Keeper) -> None:
        """Tell of the sources that failed while another had the registry."""
        self.freshness.passed_over = [
            line for fault in keeper.faults for line in fault.lines
        ]
        for fault in keeper.faults:
            self._metrics.source_failed(reason_of(fault))

    def _refused(self, refusal: VpngateError) -> None:
        self.freshness.failed(refusal.lines[0])
        for fault in _faults(refusal):
            self._metrics.registry_refused(reason_of(fault))


def _faults(refusal: VpngateError) -> tuple[VpngateError, ...]:
    """What each source had against it, or the one thing that was."""
    return refusal.faults if isinstance(refusal, NoSourceAnswered) else (refusal,)
