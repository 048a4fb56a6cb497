# SPDX-License-Identifier: GPL-2.0-or-later
"""Whom it is told what is in force now, and what could not be: metrics, log, freshness.

Knows what each event's end means to those outside the kernel, the disk and the sources
among them; does not know how it came about.
"""

import logging
import time
from collections.abc import Sequence

from netaddr import IPNetwork

from vpngate.daemon.applying.events import (
    ConfigRead,
    ConfigUnreadable,
    Event,
    MinutePassed,
    RegistryFetched,
    RegistryMissing,
    Situation,
)
from vpngate.daemon.facts import announce_machine, facts_of
from vpngate.daemon.fetches import Fetches
from vpngate.daemon.in_force import InForce
from vpngate.daemon.threads import in_thread
from vpngate.daemon.wall_clock import WallClock
from vpngate.errors import Problem, VpngateError
from vpngate.log_events import named
from vpngate.metrics import Metrics
from vpngate.snapshot import Snapshot, tell_spared
from vpngate.stance import Cause, in_fields, in_one_line
from vpngate.supply.keeper import Delivery

_log = logging.getLogger(__name__)


class Announcements:
    """Tells of events that were taken, declined, or that the kernel did not take."""

    def __init__(
        self, in_force: InForce, fetches: Fetches, metrics: Metrics, clock: WallClock
    ) -> None:
        self._in_force = in_force
        self._fetches = fetches
        self._metrics = metrics
        self._clock = clock
        self._last_refused = False  # of the configurations that were read

    def started(self, situation: Situation, delivery: Delivery) -> None:
        """The first situation is in force, with this registry."""
        self.acted(None, situation.snapshot)
        self._in_force.note_interfaces()
        self._metrics.config_taken(time.time())
        self._registry_in_force(situation, taken=delivery.refusal is None)
        self._fetches.note_start(delivery)

    def acted(self, before: Snapshot | None, after: Snapshot) -> None:
        """Another snapshot is acted on, or the first."""
        announce_machine(self._metrics, self._in_force)
        _tell(() if before is None else before.suspended, after.suspended)
        if before is None or before.stance != after.stance:
            halted = after.stance.why.cause is Cause.HALTED
            level = logging.WARNING if halted else logging.INFO
            _log.log(
                level,
                "stance: %s",
                in_one_line(after.stance),
                extra=named("stance_changed", **in_fields(after.stance)),
            )

    def taken(self, event: Event, before: Situation, after: Situation) -> None:
        """An event's situation is in force everywhere."""
        self.interfaces()
        self._clock.patience = after.snapshot.config.registry.removal_grace
        match event:
            case ConfigRead():
                self._last_refused = False
                if after.snapshot is not before.snapshot:
                    self._metrics.config_taken(time.time())
                    self._registry_in_force(after, taken=False)
                self._fetches.follow(event.config.registry)
            case RegistryFetched() | RegistryMissing():
                taken = isinstance(event, RegistryFetched)
                if taken:
                    self._fetches.came_into_force()
                if before.reading and not self._last_refused:
                    self._metrics.config_taken(time.time())
                self._registry_in_force(after, taken=taken)
            case MinutePassed():
                self._registry_in_force(after, taken=False)
                snapshot = after.snapshot
                self._fetches.freshness.tell(
                    snapshot.registry, snapshot.config.registry.refresh
                )

    def interfaces(self) -> None:
        """The kernel has been asked for interfaces: some it may not let us have."""
        self._in_force.note_interfaces()
        announce_machine(self._metrics, self._in_force)

    def declined(self, event: Event) -> None:
        """An event is refused as a whole."""
        if isinstance(event, ConfigRead | ConfigUnreadable):
            self._refused()

    def failed(self, event: Event, before: Situation, error: Exception) -> None:
        """The kernel did not take an event's situation."""
        match event:
            case ConfigRead():
                self._refused()
            case RegistryFetched() | RegistryMissing():
                if isinstance(error, VpngateError):
                    self._fetches.freshness.failed(error.lines[0])
                else:
                    self._fetches.freshness.failed(repr(error))
                if before.wanted != before.snapshot.config:
                    self._refused()

    def _refused(self) -> None:
        self._last_refused = True
        self._metrics.config_refused()

    def spared(self, found: list[IPNetwork], known: list[IPNetwork]) -> None:
        """These networks of subscribers are spared as a whole by the registry."""
        for network in found:
            if network not in known:
                _log.warning(
                    "%s",
                    tell_spared(network),
                    extra=named("subscribers_spared", network=str(network)),
                )

    @staticmethod
    def not_kept(error: VpngateError, all_the_same: str = "") -> None:
        """A stance is acted on, or was to be, that could not be kept on disk."""
        for line in error.lines:
            _log.warning("%s%s", line, all_the_same, extra=named("stance_not_kept"))

    @staticmethod
    def restarting(*, may_act: bool) -> None:
        """What a restart does where the latest stance could not be kept."""
        if may_act:
            line = "a restart may act on what was allowed before: free the disk"
            _log.warning(line, extra=named("restart_may_act"))
        else:
            line = "a restart observes until a person acts"
            _log.warning(line, extra=named("restart_observes"))

    async def keep(self, event: Event) -> None:
        """Have the registry that is in force be the last good one on disk."""
        if isinstance(event, RegistryFetched) and event.delivery is not None:
            await in_thread(self._fetches.keep, event.delivery)

    def _registry_in_force(self, situation: Situation, *, taken: bool) -> None:
        registry = situation.snapshot.registry
        facts = facts_of(registry, situation.rejected, self._clock.now())
        if taken:
            self._metrics.registry_taken(facts, time.time())
        else:
            self._metrics.registry_aged(facts)


def _tell(old: Sequence[Problem], new: Sequence[Problem]) -> None:
    """Log, once, what keeps vpngate from acting."""
    for problem in new:
        if problem not in old:
            _log.warning("%s", problem, extra=named("not_acting"))
