# SPDX-License-Identifier: GPL-2.0-or-later
"""Reloading: what stands in files and at sources becomes events.

Knows what is read again, in which order, and who waits for what: a configuration is put
forward as soon as it is read, the registry once a source has answered. Does not know
what follows from either (`applying/`).
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection
from random import Random
from typing import Any

from vpngate import feed
from vpngate.config import Config
from vpngate.daemon.applying.applier import Applier
from vpngate.daemon.applying.events import (
    ConfigRead,
    ConfigUnreadable,
    MinutePassed,
    RegistryFetched,
    RegistryMissing,
)
from vpngate.daemon.fetches import Fetches
from vpngate.daemon.kept.share_key import share_key
from vpngate.daemon.lookout import Lookout
from vpngate.daemon.threads import Shared, in_thread
from vpngate.errors import VpngateError
from vpngate.feed import INVALID, next_fetch
from vpngate.log_events import named
from vpngate.registry import Accept, Refusal
from vpngate.supply.keeper import Delivery
from vpngate.timekeeping.moments import format_moment

_log = logging.getLogger(__name__)


# Every reason that a registry can be refused for, as a metric's label has it.
REFUSALS = (INVALID, *map(str, feed.Reason), *map(str, Refusal))


class Reloader:
    """Reloads on request, and fetches the registry when it is time."""

    def __init__(
        self,
        applier: Applier,
        fetches: Fetches,
        lookout: Lookout,
        *,
        read_config: Callable[[str], Config],
        path: str,
    ) -> None:
        self._applier = applier
        self._fetches = fetches
        self._lookout = lookout
        self.freshness = fetches.freshness
        self._read_config = read_config
        self._path = path
        self._configurations = Shared(self._put_forward_config)
        self._registries = Shared(self._take_registry)
        self._reloaded = asyncio.Event()
        self._next_at: float | None = None  # seconds since 1970

    async def reload(self, *, accept: Collection[Accept] = ()) -> dict[str, Any]:
        """Read everything again; what came of it, or the error that stopped it.

        The configuration first: nothing in it waits for a source, but what would slow
        somebody. Of several that wait, one does the work.
        """
        await asyncio.shield(await self._configurations())
        if accept:
            async with self._registries.turn:
                return await self._take_registry(accept=accept)
        return await self._registries()

    async def refresh(self) -> None:
        """Fetch the registry again and again, at the pace that is configured."""
        random = Random()  # noqa: S311 - spreads a fleet, no secret
        while True:
            self._reloaded.clear()  # by a reload, which may have brought another pace
            refresh = self._applier.situation.snapshot.config.registry.refresh
            failures = self.freshness.failures
            pause = next_fetch(refresh, failures, random)
            self._next_at = time.time() + pause
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._reloaded.wait()
                continue
            try:
                await self._registries()
            except VpngateError as refusal:
                for line in refusal.lines:
                    _log.warning(
                        "%s; the registry in force stays",
                        line,
                        extra=named("registry_refused"),
                    )

    def _share_key(self, config: Config) -> bytes | None:
        """The key that a configuration names; None, as before, where it names none.

        One of our own is read at a start alone: if it could not be kept, another would
        be made each time, and choose other subscribers.
        """
        known = self._applier.situation.wanted.gateway.share_key
        same = config.gateway.share_key == known
        return None if same and not known else share_key(config)

    async def _put_forward_config(self) -> asyncio.Future[bool]:
        """Read the file, and submit what it says; what will come of that.

        Whoever reads it next does not wait for it.
        """
        try:
            config = await asyncio.to_thread(self._read_config, self._path)
            self._fetches.check(config.registry)
            key = await in_thread(self._share_key, config)
            machine = await self._lookout.look(config)
        except VpngateError as reasons:
            return self._applier.submit(ConfigUnreadable(reasons))
        outcome = self._applier.submit(ConfigRead(self._path, config, machine, key))
        outcome.add_done_callback(self._config_through)
        return outcome

    def _config_through(self, outcome: asyncio.Future[bool]) -> None:
        if not outcome.cancelled() and outcome.exception() is None:
            self._reloaded.set()

    async def _take_registry(
        self, *, accept: Collection[Accept] = ()
    ) -> dict[str, Any]:
        """Fetch, and have what was fetched and all of the configuration in force."""
        keeper = self._fetches.keeper
        registry = self._applier.situation.snapshot.registry
        try:
            delivery = await self._fetches.fetch(registry, accept)
        except VpngateError as refusal:
            if keeper is self._fetches.keeper:  # else the other one's fetch comes next
                await self._applier.take(RegistryMissing(refusal))
                self._reloaded.set()
            raise
        await self._applier.take(RegistryFetched(delivery))
        self._reloaded.set()
        return self._outcome(delivery)

    async def age(self) -> None:
        """Let time pass: registrations begin, end, and use up their grace."""
        await self._applier.take(MinutePassed())

    def cancel(self) -> None:
        """End what is running, whatever it waits for; for the daemon's stop."""
        self._fetches.cancel()
        self._configurations.cancel()
        self._registries.cancel()

    def stale(self) -> list[str]:
        """Why the registry in force is not what it should be now; from any thread."""
        snapshot = self._applier.situation.snapshot
        refresh = snapshot.config.registry.refresh
        return list(self.freshness.stale(snapshot.registry, refresh).values())

    def refreshes(self) -> dict[str, Any]:
        """Where the registry in force is from, and when it was and will be asked for.

        For who may ask at the control socket: a refusal may name a prefix.
        """
        fresh = self.freshness
        refusal = fresh.last_refusal and {
            "at": format_moment(round(fresh.last_refusal[0])),
            "why": fresh.last_refusal[1],
        }
        return {
            "source": self._fetches.source,
            "last_success": format_moment(round(fresh.last_success)),
            "next": self._next_at and format_moment(round(self._next_at)),
            "failures": fresh.failures,
            "last_refusal": refusal,
        }

    def _outcome(self, delivery: Delivery | None) -> dict[str, Any]:
        situation = self._applier.situation
        snapshot = situation.snapshot
        return {
            "registry": f"taken from {delivery.source}" if delivery else "unchanged",
            "prefixes": {f.label: n for f, n in snapshot.registry.prefixes.items()},
            "rejected_rows": situation.rejected,
            "mode": snapshot.stance.mode.value,
        }
