# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon says of itself: the answer to `status`.

Knows how the state is put into words and numbers; changes nothing. No address and
no prefix of anyone is in it.
"""

import time
from typing import Any

from vpngate import __version__
from vpngate.daemon.in_force import InForce
from vpngate.daemon.traffic.capture_loop import CaptureLoop
from vpngate.daemon.traffic.pipeline import Pipeline
from vpngate.daemon.wellbeing.foresight import would_have
from vpngate.daemon.wellbeing.freshness import Freshness
from vpngate.daemon.wellbeing.health import Health
from vpngate.daemon.wellbeing.kernel_counters import KernelCounters
from vpngate.recognition import Evidence
from vpngate.snapshot import Snapshot
from vpngate.stance import in_rows
from vpngate.supply.registry_keys import key_ids
from vpngate.timekeeping.moments import format_moment
from vpngate.units import format_rate


class Report:
    """The answer to `status`; whoever asks has refreshed the counters first."""

    def __init__(  # noqa: PLR0913, PLR0917 - it speaks of all of them
        self,
        in_force: InForce,
        freshness: Freshness,
        pipeline: Pipeline,
        capture: CaptureLoop,
        counters: KernelCounters,
        health: Health,
    ) -> None:
        self._in_force = in_force
        self._freshness = freshness
        self._pipeline = pipeline
        self._capture = capture
        self._counters = counters
        self._health = health
        self._begun = time.monotonic()
        self._started = format_moment(round(time.time()))

    def status(self) -> dict[str, Any]:
        """The state, in words and numbers fit for JSON."""
        snapshot = self._in_force.snapshot
        reasons = self._health.reasons()
        return {
            "healthy": not reasons,
            "reasons": reasons,
            "warnings": self._warnings(),
            "version": __version__,
            "started": self._started,
            "uptime_seconds": round(time.monotonic() - self._begun),
            "plane": snapshot.config.gateway.plane.value,
            "mode": snapshot.stance.mode.value,
            "enforced_share": snapshot.stance.share,
            "stance": in_rows(snapshot.stance, snapshot.suspended),
            "interfaces": list(self._in_force.attached),
            "interfaces_left_alone": {
                one.interface: one.reason for one in self._in_force.left_alone
            },
            "registry": self._registry(snapshot),
            "flows": self._flows(),
            "throttled": self._throttled(snapshot),
            "enforcing_would_have": would_have(
                snapshot, self._pipeline.observed, self._counters.latest
            ),
            "capture": self._captured(),
            "kernel": {"armed": self._health.armed, "in_sync": self._health.in_sync},
        }

    def _warnings(self) -> list[str]:
        """What is in force, and may not be meant; the log names the networks."""
        spared = len(self._in_force.spared_networks)
        line = (
            f"the registry covers {spared} network(s) on the subscriber side, so that"
            " nobody in there is ever slowed; the log names them"
        )
        return [line] if spared else []

    def _registry(self, snapshot: Snapshot) -> dict[str, Any]:
        registry = snapshot.registry
        moments = {
            "generated": registry.generated,
            "expires": registry.expires,
            "loaded": registry.loaded,
        }
        return {
            "name": registry.name,
            "serial": registry.serial,
            "digest": registry.intervals_digest,
            **{
                name: None if moment is None else format_moment(round(moment))
                for name, moment in moments.items()
            },
            "prefixes": {f.label: n for f, n in registry.prefixes.items()},
            "public_keys": list(key_ids(snapshot.config.registry)),
            "last_refusal": self._freshness.failure or None,
            "sources_passed_over": self._freshness.passed_over,
        }

    def _flows(self) -> dict[str, Any]:
        """By tunnel: the flows that are followed, and the verdicts since the start."""
        counts = self._pipeline.flows.counts()
        return {
            tunnel: {
                **{e.label: counts.get((tunnel, e), 0) for e in Evidence},
                "verdicts": dict(reached),
            }
            for tunnel, reached in self._pipeline.verdicts.items()
        }

    def _captured(self) -> dict[str, int]:
        """Packets that recognition has seen, and missed, by reason."""
        latest = self._counters.latest
        limit = {"limit": latest.copies_held_back} if latest else {}
        return {"captured": self._capture.captured, **self._capture.losses, **limit}

    def _throttled(self, snapshot: Snapshot) -> dict[str, Any]:
        """The slower class: its limit, who is in it, and what it passes now."""
        rates = {d: format_rate(round(rate)) for d, rate in self._counters.rate.items()}
        latest = self._counters.latest
        counted = latest and {
            "flows": latest.throttled_flows,
            "subscribers": latest.throttled_subscribers,
            "packets": latest.throttled_packets,
            "dropped": latest.dropped_packets,
            "spared": latest.spared_packets,
            "subscribers_sharing_a_bucket": latest.buckets_shared,
            "verdicts_refused": latest.verdicts_refused,
        }
        limit = format_rate(snapshot.config.throttle.rate)
        return {"limit": limit, "rate": rates, **(counted or {})}
