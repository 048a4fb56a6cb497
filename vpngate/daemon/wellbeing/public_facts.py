# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon tells everybody: the transparency report, and the hour behind it.

Knows where each number comes from, and keeps the last hour of a few; does not know the
report's form (`vpngate/public/transparency.py`). No address is in any of it.
"""

import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from weakref import ref

from vpngate.daemon.in_force import InForce
from vpngate.daemon.threads import in_thread
from vpngate.daemon.traffic.pipeline import Pipeline
from vpngate.daemon.wellbeing.kernel_counters import KernelCounters
from vpngate.daemon.wellbeing.last_hour import MINUTES, LastHour, Name
from vpngate.metrics import Metrics
from vpngate.packets import Direction
from vpngate.policy import Verdict
from vpngate.public.transparency import Hour, PublicFacts, transparency
from vpngate.recognition import Evidence
from vpngate.registry import Registry
from vpngate.stance import HaltReason
from vpngate.timekeeping.moments import When, span_of

_REFRESHED = "vpngate_registry_last_refresh_success_timestamp_seconds"
_COUNTED_FOR = (
    60.0  # seconds for which the number of those in grace is not counted anew
)


class PublicView:
    """Makes the report; `status` is what the daemon answers to `status`."""

    def __init__(  # noqa: PLR0913, PLR0917 - it speaks of all of them
        self,
        in_force: InForce,
        pipeline: Pipeline,
        counters: KernelCounters,
        metrics: Metrics,
        clock: Callable[[], When],
        armed: Callable[[], bool],
        stale: Callable[[], list[str]],
        status: Callable[[], Awaitable[Mapping[str, Any]]],
    ) -> None:
        self._in_force = in_force
        self._pipeline = pipeline
        self._counters = counters
        self._metrics = metrics
        self._clock = clock
        self._armed = armed
        self._stale = stale
        self._status = status
        self._started = span_of(clock()).latest
        self._hour = LastHour(time.monotonic())
        # Of which registry, when, and how many; no registry may outlive its time.
        self._in_grace: tuple[ref[Registry], float, dict[str, int]] | None = None

    async def report(self) -> dict[str, Any]:
        """The transparency report as of now."""
        state = await self._status()
        in_grace = await self._in_grace_now()
        return transparency(state, self._facts(in_grace))

    def note(self) -> None:
        """Take the numbers of now into the hour; to be called every few seconds."""
        totals: dict[Name, int] = {
            ("flows", tunnel, verdict): count
            for tunnel, reached in self._pipeline.verdicts.items()
            for verdict, count in reached.items()
        }
        latest = self._counters.latest
        if latest is not None:
            read = {"all": latest.traffic_bytes, "slowed": latest.throttled_bytes}
            for what, each in read.items():
                totals |= {("bytes", what, d): count for d, count in each.items()}
        counts = self._pipeline.flows.counts()
        levels: dict[Name, int] = {
            ("up", tunnel): count
            for (tunnel, evidence), count in counts.items()
            if evidence is Evidence.CONFIRMED
        }
        self._hour.note(time.monotonic(), totals, levels)

    def _facts(self, in_grace: Mapping[str, int]) -> PublicFacts:
        snapshot, now = self._in_force.snapshot, span_of(self._clock())
        sample = self._metrics.registry.get_sample_value
        names = snapshot.config.http.names
        return PublicFacts(
            gateway=names[0] if names else socket.gethostname(),
            started=self._started,
            made=now.latest,
            config=snapshot.config,
            stance=snapshot.stance,
            acting=snapshot.enforcing and self._armed(),
            suspend=snapshot.registry.suspend,
            refreshed=sample(_REFRESHED) or None,
            stale=self._stale(),
            hour=self._columns(now.latest),
            rates={"all": self._counters.traffic_rate, "slowed": self._counters.rate},
            in_grace=in_grace,
            halts={
                reason.value: round(
                    sample("vpngate_halts_total", {"reason": reason}) or 0
                )
                for reason in HaltReason
            },
        )

    def _columns(self, wall: float) -> Hour:
        now, hour = time.monotonic(), self._hour
        tunnels = {
            *self._in_force.snapshot.config.tunnels.enabled,
            *self._pipeline.verdicts,
        }
        return Hour(
            ends=wall - (now - hour.ends(now)),
            minutes=MINUTES,
            flows={
                tunnel: {
                    verdict.value: hour.grown(now, ("flows", tunnel, verdict.value))
                    for verdict in Verdict
                }
                for tunnel in sorted(tunnels)
            },
            up={
                tunnel: hour.highest(now, ("up", tunnel)) for tunnel in sorted(tunnels)
            },
            bytes={
                what: {d.value: hour.grown(now, ("bytes", what, d)) for d in Direction}
                for what in ("all", "slowed")
            },
        )

    async def _in_grace_now(self) -> dict[str, int]:
        """Registrations that stand by their grace alone; not counted each time."""
        registry, now = self._in_force.snapshot.registry, span_of(self._clock()).latest
        known = self._in_grace
        if known is None or known[0]() is not registry or now > known[1] + _COUNTED_FOR:
            counts = await in_thread(_all_in_grace, registry, now)
            self._in_grace = known = ref(registry), now, counts
        return known[2]


def _all_in_grace(registry: Registry, now: When) -> dict[str, int]:
    """A million registrations take a while."""
    return {family.label: n for family, n in registry.in_grace(now).items()}
