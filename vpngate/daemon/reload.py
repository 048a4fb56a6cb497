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
from vpngate.daemon.aside import Shared, aside
from vpngate.daemon.clock import WallClock
from vpngate.daemon.current import Current
from vpngate.daemon.facts import announce_machine, facts_of
from vpngate.daemon.freshness import Freshness
from vpngate.daemon.keeper import Delivery, Keeper
from vpngate.daemon.machine import insist, looked
from vpngate.daemon.snapshot import Machine, Snapshot, enabled_tunnels
from vpngate.errors import InvalidConfig, VpngateError
from vpngate.feed import (
    INVALID,
    NoSourceAnswered,
    Validators,
    given_up,
    next_fetch,
    reason_of,
)
from vpngate.metrics import Metrics
from vpngate.registry import Accept, Reason

_log = logging.getLogger(__name__)


# Every reason that a registry can be refused for, as a metric's label has it.
REFUSALS = (INVALID, *map(str, feed.Reason), *map(str, Reason))


class Reloader:
    """Reloads on request, and fetches the registry when it is time. One at a time."""

    def __init__(  # noqa: PLR0913 - what a reload reads, and whom it tells
        self,
        current: Current,
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
        self._current = current
        self._keeper = keeper
        self._metrics = metrics
        self._clock = clock
        self._read_config = read_config
        self._path = path
        self._look = look
        self._rejected = delivery.rejected
        self._turn = asyncio.Lock()  # of what is in force
        self._configurations = Shared(self._take_config)
        self._registries = Shared(self._take_registry)
        self._fetching: asyncio.Task[Delivery | None] | None = None
        self._wanted = current.snapshot.config  # in force once a registry has come
        self._reloaded = asyncio.Event()
        self._looking = asyncio.Lock()
        self._freshness = Freshness(clock, delivery.succeeded)
        self.passed_over: list[str] = []  # what other sources said to the last fetch
        self._announce(registry_taken=delivery.refusal is None)
        if delivery.refusal is not None:
            self._refused(delivery.refusal)
            if delivery.succeeded is not None:
                metrics.registry_refreshed(delivery.succeeded)
        self._note_sources(keeper)

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
            refresh = self._current.snapshot.config.registry.refresh
            failures = self._freshness.failures
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
            old = self._current.snapshot.config
            config = await self._next_config()
            keeper = self._keeper_for(config)
            at_once = without_more(old, config)
            try:
                if at_once != old:
                    await self._put_in_force(at_once, None)
                    self._announce(registry_taken=False)
            except Exception:
                self._metrics.config_refused()
                raise
            self._wanted = config
            if keeper is not self._keeper:
                # Whoever waits for a source that is none any more, waits in vain.
                self._keeper.cancel()
                self._keeper = keeper
                if self._fetching is not None:
                    self._fetching.cancel()
            self._reloaded.set()

    async def _take_registry(
        self, *, accept: Collection[Accept] = ()
    ) -> dict[str, Any]:
        """Fetch, and put in force what was fetched and all of the configuration."""
        keeper, standing = self._keeper, self._keeper.validators
        delivery, refusal = await self._next_registry(keeper, accept=accept)
        if refusal is not None and keeper is not self._keeper:
            raise refusal  # the other one's fetch comes next
        async with self._turn:
            try:
                await self._put_in_force(self._wanted, delivery)
            except Exception as error:
                self._not_in_force(keeper, standing, error)
                raise
            if refusal is None:
                self._freshness.succeeded()
            self._announce(registry_taken=refusal is None)
            await self._keep(keeper, delivery)
        self._reloaded.set()
        if refusal is not None:
            raise refusal
        return self._outcome(delivery)

    @staticmethod
    async def _keep(keeper: Keeper, delivery: Delivery | None) -> None:
        if delivery is not None:
            await aside(keeper.keep, delivery)

    async def age(self) -> None:
        """Let time pass: registrations begin, end, and use up their grace."""
        await self._current.age()
        registry = self._current.snapshot.registry
        facts = facts_of(registry, self._rejected, self._clock.now())
        self._metrics.registry_aged(facts)
        self._freshness.tell(registry, self._current.snapshot.config.registry.refresh)

    async def look_again(self) -> None:
        """Follow interfaces and addresses; raises what keeps them from being seen."""
        async with self._looking:
            config, last = self._current.snapshot.config, self._current.snapshot.machine
            machine, fault = await asyncio.to_thread(looked, self._look, config, last)
            if machine != last:
                # A reload may have come first, and looked for other interfaces.
                await self._current.change(lambda old: old.seen_by(config, machine))
        if fault is not None:
            raise fault
        if machine != last:
            announce_machine(self._metrics, self._current.snapshot)
            _log.info("attached to %s", ", ".join(machine.interfaces) or "nothing")

    def cancel(self) -> None:
        """End what is running, whatever it waits for; for the daemon's stop."""
        self._keeper.cancel()
        self._configurations.cancel()
        self._registries.cancel()

    async def _next_config(self) -> Config:
        """The configuration as it stands in its file now, if it may be taken."""
        old = self._current.snapshot.config
        try:
            config = await asyncio.to_thread(self._read_config, self._path)
            found = changes(old, config)
            if found.reload is Reload.COLD:
                raise InvalidConfig(found.problems(self._path))
            machine = await asyncio.to_thread(self._look, config)
            suspended = bool(self._current.snapshot.machine.forgeable)
            insist(config, machine, old.gateway.interfaces, suspended=suspended)
        except VpngateError:
            self._metrics.config_refused()
            raise
        return config

    def _keeper_for(self, config: Config) -> Keeper:
        """The keeper in office, or its successor if the sources have changed."""
        if config.registry == self._keeper.settings:
            return self._keeper
        return Keeper(config.registry, self._clock, self._keeper.validators)

    def _not_in_force(
        self, keeper: Keeper, standing: Validators | None, error: Exception
    ) -> None:
        """What was fetched stays new: the next fetch must not call it unchanged."""
        keeper.validators = self._keeper.validators = standing
        in_force = self._current.snapshot.config
        if self._wanted != in_force:
            self._metrics.config_refused()
            self._wanted = in_force
        lines = error.lines if isinstance(error, VpngateError) else [repr(error)]
        self._freshness.failed(lines[0])

    async def _next_registry(
        self, keeper: Keeper, *, accept: Collection[Accept]
    ) -> tuple[Delivery | None, VpngateError | None]:
        self._fetching = fetching = asyncio.create_task(
            aside(
                keeper.fetch,
                self._current.snapshot.registry,
                accept=accept,
            )
        )
        try:
            await asyncio.wait({fetching})
        finally:
            fetching.cancel()  # nobody waits any more
        if fetching.cancelled():  # another keeper took over
            return None, given_up("registry")
        try:
            delivery = fetching.result()
        except VpngateError as refusal:
            if keeper is self._keeper:
                self._refused(refusal)
            return None, refusal
        self._note_sources(keeper)
        return delivery, None

    def stale(self) -> list[str]:
        """Why the registry in force is not what it should be now; from any thread."""
        snapshot = self._current.snapshot
        refresh = snapshot.config.registry.refresh
        return list(self._freshness.stale(snapshot.registry, refresh).values())

    @property
    def failure(self) -> str:
        """Why the last registry was not taken; empty if it was."""
        return self._freshness.failure

    def _note_sources(self, keeper: Keeper) -> None:
        """Tell of the sources that failed while another had the registry."""
        self.passed_over = [line for fault in keeper.faults for line in fault.lines]
        for fault in keeper.faults:
            self._metrics.source_failed(reason_of(fault))

    def _refused(self, refusal: VpngateError) -> None:
        self._freshness.failed(refusal.lines[0])
        for fault in _faults(refusal):
            self._metrics.registry_refused(reason_of(fault))

    async def _put_in_force(self, config: Config, delivery: Delivery | None) -> None:
        if delivery is None and config == self._current.snapshot.config:
            await self._current.age()  # what was broken off before is undone
            return
        machine = await asyncio.to_thread(self._look, config)

        def successor(snapshot: Snapshot) -> Snapshot:
            registry = delivery.registry if delivery else snapshot.registry
            grace = config.registry.removal_grace
            registry = replace(registry, grace=grace)
            return Snapshot(config, enabled_tunnels(config), registry, machine)

        await self._current.change(successor)
        self._clock.patience = config.registry.removal_grace
        if delivery is not None:
            self._rejected = delivery.rejected

    def _announce(self, *, registry_taken: bool) -> None:
        """Tell the metrics what is in force."""
        snapshot, now = self._current.snapshot, time.time()
        self._metrics.config_taken(now)
        announce_machine(self._metrics, snapshot)
        facts = facts_of(snapshot.registry, self._rejected, self._clock.now())
        if registry_taken:
            self._metrics.registry_taken(facts, now)
        else:
            self._metrics.registry_aged(facts)

    def _outcome(self, delivery: Delivery | None) -> dict[str, Any]:
        snapshot = self._current.snapshot
        return {
            "registry": f"taken from {delivery.source}" if delivery else "unchanged",
            "prefixes": {f.label: n for f, n in snapshot.registry.prefixes.items()},
            "rejected_rows": self._rejected,
            "mode": snapshot.config.gateway.mode.value,
        }


def _faults(refusal: VpngateError) -> tuple[VpngateError, ...]:
    """What each source had against it, or the one thing that was."""
    return refusal.faults if isinstance(refusal, NoSourceAnswered) else (refusal,)
