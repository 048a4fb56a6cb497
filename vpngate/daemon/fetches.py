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
from vpngate.feed import NoSourceAnswered, for_messages, given_up, reason_of
from vpngate.metrics import Metrics
from vpngate.registry import Accept, Registry
from vpngate.supply.keeper import Delivery, Keeper
from vpngate.supply.registry_keys import feed_settings


class Fetches:
    """The keeper in office at work; `freshness` has what became of it."""

    def __init__(
        self, keeper: Keeper, metrics: Metrics, clock: WallClock, delivery: Delivery
    ) -> None:
        """`delivery` is the registry that `keeper` brought for the start."""
        self.keeper = keeper
        self.freshness = Freshness(clock, delivery.succeeded)
        self._standing = keeper.validators  # of what is in force
        # That had what is in force, or said it stands; fit for a message.
        self.source = delivery.source
        self._brought_by = keeper
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

    @staticmethod
    def check(settings: RegistrySection) -> None:
        """InvalidConfig if a registry cannot be asked for by these."""
        feed_settings(settings, "registry")

    def follow(self, settings: RegistrySection) -> None:
        """Ask by these from now on.

        Who waits for a source that is none any more, waits in vain: he is told so.
        """
        if settings != self.keeper.settings:
            self.keeper.cancel()
            self.keeper = Keeper(settings, self._clock, self._standing)
            if self._running is not None:
                self._running.cancel()

    async def fetch(
        self, registry: Registry, accept: Collection[Accept]
    ) -> Delivery | None:
        """What may take the place of `registry`; None if that still stands.

        Raises why no source has any.
        """
        keeper = self.keeper
        # What was fetched and did not come into force is new.
        keeper.validators = self._standing
        self._running = running = asyncio.create_task(
            in_thread(keeper.fetch, registry, accept=accept)
        )
        try:
            await asyncio.wait({running})
        finally:
            running.cancel()  # nobody waits any more
        if running.cancelled():  # another keeper took over
            raise given_up("registry")
        try:
            delivery = running.result()
        except VpngateError as refusal:
            if keeper is self.keeper:
                self._refused(refusal)
            raise
        finally:
            # It has the error, which has this frame: no circle (`garbage.py`).
            del running
            self._running = None
        self._brought_by = keeper
        self._note_sources(keeper)
        return delivery

    def came_into_force(self) -> None:
        """A source has what is in force: that is a success, new or not."""
        self._standing = self._brought_by.validators
        if self._standing is not None:
            self.source = for_messages(self._standing.source)
        self.freshness.succeeded()

    def keep(self, delivery: Delivery) -> None:
        """Have what was fetched last be the last good one on disk. Blocking."""
        self._brought_by.keep(delivery)

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
