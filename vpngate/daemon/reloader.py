# SPDX-License-Identifier: GPL-2.0-or-later
"""Reloading: a changed file becomes a new snapshot, or nothing happens.

Knows what is read again, in which order, and what a failure leaves as it was: a
configuration that is not taken changes nothing; a registry that is not taken leaves
the old one in force, while a sound configuration counts (an operator who turns
enforcing off must not wait for a registry to be mended). Does not know how the
kernel is changed.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from random import Random
from typing import Any

from vpngate import feed
from vpngate.config import Config, Reload, changes, without_more
from vpngate.daemon.facts import announce_machine, facts_of
from vpngate.daemon.in_force import InForce
from vpngate.daemon.machine import insist, looked
from vpngate.daemon.snapshot import Machine, Snapshot, enabled_tunnels
from vpngate.daemon.supply.fetches import Fetches
from vpngate.daemon.supply.keeper import Delivery, Keeper
from vpngate.daemon.threads import Shared, in_thread
from vpngate.daemon.wall_clock import WallClock
from vpngate.errors import InvalidConfig, VpngateError
from vpngate.feed import (
    INVALID,
    next_fetch,
)
from vpngate.metrics import Metrics
from vpngate.registry import Accept, Refusal

_log = logging.getLogger(__name__)


# Every reason that a registry can be refused for, as a metric's label has it.
REFUSALS = (INVALID, *map(str, feed.Reason), *map(str, Refusal))


class Reloader:
    """Reloads on request, and fetches the registry when it is time. One at a time."""

    def __init__(  # noqa: PLR0913 - what a reload reads, and whom it tells
        self,
        in_force: InForce,
        keeper: Keeper,
        metrics: Metrics,
        clock: WallClock,
        *,
        read_config: Callable[[str], Config],
        path: str,
        look: Callable[[Config], Machine],
        delivery: Delivery,
    ) -> None:
        """`delivery` is the registry that the daemon starts with."""
        self._in_force = in_force
        self._fetches = Fetches(keeper, metrics, clock, delivery)
        self.freshness = self._fetches.freshness
        self._metrics = metrics
        self._clock = clock
        self._read_config = read_config
        self._path = path
        self._look = look
        self._rejected = delivery.rejected
        self._turn = asyncio.Lock()  # of what is in force
        self._configurations = Shared(self._take_config)
        self._registries = Shared(self._take_registry)
        self._wanted = in_force.snapshot.config  # in force once a registry has come
        self._reloaded = asyncio.Event()
        self._looking = asyncio.Lock()
        self._announce(registry_taken=delivery.refusal is None)
        self._fetches.note_start(delivery)

    async def reload(self, *, accept: Collection[Accept] = ()) -> dict[str, Any]:
        """Read everything again; what came of it, or the error that stopped it.

        The configuration first: nothing in it waits for a source, but what would slow
        somebody. Of several that wait, one does the work.
        """
        await self._configurations()
        if accept:
            async with self._registries.turn:
                return await self._take_registry(accept=accept)
        return await self._registries()

    async def refresh(self) -> None:
        """Fetch the registry again and again, at the pace that is configured."""
        random = Random()  # noqa: S311 - spreads a fleet, no secret
        while True:
            self._reloaded.clear()  # by a reload, which may have brought another pace
            refresh = self._in_force.snapshot.config.registry.refresh
            failures = self.freshness.failures
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(next_fetch(refresh, failures, random)):
                    await self._reloaded.wait()
                continue
            try:
                await self._registries()
            except VpngateError as refusal:
                for line in refusal.lines:
                    _log.warning("%s; the registry in force stays", line)

    async def _take_config(self) -> None:
        """Put the file's configuration in force, as far as it slows nobody more."""
        async with self._turn:
            old = self._in_force.snapshot.config
            config = await self._next_config()
            keeper = self._fetches.keeper_for(config.registry)
            at_once = without_more(old, config)
            try:
                if at_once != old:
                    await self._put_in_force(at_once, None)
                    self._announce(registry_taken=False)
            except Exception:
                self._metrics.config_refused()
                raise
            self._wanted = config
            self._fetches.hand_over(keeper)
            self._reloaded.set()

    async def _take_registry(
        self, *, accept: Collection[Accept] = ()
    ) -> dict[str, Any]:
        """Fetch, and put in force what was fetched and all of the configuration."""
        keeper = self._fetches.keeper
        standing, registry = keeper.validators, self._in_force.snapshot.registry
        delivery, refusal = await self._fetches.fetch(registry, accept)
        if refusal is not None and keeper is not self._fetches.keeper:
            raise refusal  # the other one's fetch comes next
        async with self._turn:
            try:
                await self._put_in_force(self._wanted, delivery)
            except Exception as error:
                self._fetches.not_in_force(keeper, standing, error)
                self._forget_wanted()
                raise
            if refusal is None:
                self.freshness.succeeded()
            self._announce(registry_taken=refusal is None)
            await self._keep(keeper, delivery)
        self._reloaded.set()
        if refusal is not None:
            raise refusal
        return self._outcome(delivery)

    @staticmethod
    async def _keep(keeper: Keeper, delivery: Delivery | None) -> None:
        if delivery is not None:
            await in_thread(keeper.keep, delivery)

    async def age(self) -> None:
        """Let time pass: registrations begin, end, and use up their grace."""
        await self._in_force.age()
        registry = self._in_force.snapshot.registry
        facts = facts_of(registry, self._rejected, self._clock.now())
        self._metrics.registry_aged(facts)
        self.freshness.tell(registry, self._in_force.snapshot.config.registry.refresh)

    async def look_again(self) -> None:
        """Follow interfaces and addresses; raises what keeps them from being seen."""
        async with self._looking:
            config, last = (
                self._in_force.snapshot.config,
                self._in_force.snapshot.machine,
            )
            machine, fault = await asyncio.to_thread(looked, self._look, config, last)
            if machine != last:
                # A reload may have come first, and looked for other interfaces.
                await self._in_force.change(lambda old: old.seen_by(config, machine))
        if fault is not None:
            raise fault
        self._in_force.note_interfaces()
        announce_machine(self._metrics, self._in_force)

    def cancel(self) -> None:
        """End what is running, whatever it waits for; for the daemon's stop."""
        self._fetches.cancel()
        self._configurations.cancel()
        self._registries.cancel()

    async def _next_config(self) -> Config:
        """The configuration as it stands in its file now, if it may be taken."""
        old = self._in_force.snapshot.config
        try:
            config = await asyncio.to_thread(self._read_config, self._path)
            found = changes(old, config)
            if found.reload is Reload.COLD:
                raise InvalidConfig(found.problems(self._path))
            machine = await self._machine_for(config)
            suspended = bool(self._in_force.snapshot.machine.forgeable)
            insist(config, machine, old.gateway.interfaces, suspended=suspended)
        except VpngateError:
            self._metrics.config_refused()
            raise
        return config

    def _forget_wanted(self) -> None:
        """What was wanted is not taken: what is in force is what stands in the file."""
        in_force = self._in_force.snapshot.config
        if self._wanted != in_force:
            self._metrics.config_refused()
            self._wanted = in_force

    def stale(self) -> list[str]:
        """Why the registry in force is not what it should be now; from any thread."""
        snapshot = self._in_force.snapshot
        refresh = snapshot.config.registry.refresh
        return list(self.freshness.stale(snapshot.registry, refresh).values())

    async def _put_in_force(self, config: Config, delivery: Delivery | None) -> None:
        if delivery is None and config == self._in_force.snapshot.config:
            await self._in_force.age()  # what was broken off before is undone
            return
        machine = await self._machine_for(config)

        def successor(snapshot: Snapshot) -> Snapshot:
            registry = delivery.registry if delivery else snapshot.registry
            grace = config.registry.removal_grace
            registry = replace(registry, grace=grace)
            return Snapshot(config, enabled_tunnels(config), registry, machine)

        await self._in_force.change(successor)
        self._clock.patience = config.registry.removal_grace
        if delivery is not None:
            self._rejected = delivery.rejected

    async def _machine_for(self, config: Config) -> Machine:
        """The machine now; the one in force while it cannot be looked at.

        The next look follows in seconds; neither a registry nor a mode waits for it.
        """
        last = self._in_force.snapshot.machine
        machine, fault = await asyncio.to_thread(looked, self._look, config, last)
        for line in fault.lines if fault is not None else ():
            _log.warning("%s; attached as before", line)
        return machine

    def _announce(self, *, registry_taken: bool) -> None:
        """Tell the metrics what is in force."""
        snapshot, now = self._in_force.snapshot, time.time()
        self._metrics.config_taken(now)
        announce_machine(self._metrics, self._in_force)
        facts = facts_of(snapshot.registry, self._rejected, self._clock.now())
        if registry_taken:
            self._metrics.registry_taken(facts, now)
        else:
            self._metrics.registry_aged(facts)

    def _outcome(self, delivery: Delivery | None) -> dict[str, Any]:
        snapshot = self._in_force.snapshot
        return {
            "registry": f"taken from {delivery.source}" if delivery else "unchanged",
            "prefixes": {f.label: n for f, n in snapshot.registry.prefixes.items()},
            "rejected_rows": self._rejected,
            "mode": snapshot.config.gateway.mode.value,
        }
