# SPDX-License-Identifier: GPL-2.0-or-later
"""Counters and gauges that move as things happen.

Knows the name, kind and labels of each, and what moves it; does not know the
numbers that others count (`latest.py`), nor how long things take (`durations.py`).
"""

import contextlib
import re
from collections.abc import Callable, Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from vpngate.config import Mode
from vpngate.metrics.durations import Durations
from vpngate.metrics.latest import KernelTotals, LatestNumbers, RegistryFacts
from vpngate.packets import Family
from vpngate.policy import Verdict
from vpngate.recognition import Evidence
from vpngate.second_reading import Outcome
from vpngate.stance import HaltReason

_LIMIT = "limit"  # why a packet is missed that nobody has lost
_PRINTABLE = re.compile("[ -~]+")


class Metrics:
    """Every metric of vpngate, one typed method for each thing that happens."""

    def __init__(
        self,
        version: str,
        tunnels: Iterable[str],
        *,
        refusals: Iterable[str] = (),
        repairs: Iterable[str] = (),
    ) -> None:
        """What the labels `tunnel`, `reason` of a registry, and `what` may say."""
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        tunnels = tuple(tunnels)
        self._snapshot = LatestNumbers(tunnels)
        self._held_back = 0
        self.registry.register(self._snapshot)
        self._gauges(version)
        self._counters()
        self._durations = Durations(self.registry)
        ProcessCollector(registry=self.registry)
        self._begin_at_zero(tunnels, refusals, repairs)

    def _begin_at_zero(
        self, tunnels: Iterable[str], refusals: Iterable[str], repairs: Iterable[str]
    ) -> None:
        """Show every counter with every label that it may have.

        One that does not exist until it counts cannot be told from one that is
        missing, and increase() misses its first step.
        """
        for tunnel in tunnels:
            for evidence in Evidence:
                self._handshakes.labels(tunnel, evidence.label)
            for family in Family:
                for verdict in Verdict:
                    self._flows.labels(tunnel, family.label, verdict)
            for outcome in Outcome:
                self._second_readings.labels(tunnel, outcome)
        for reason in refusals:
            self._refused.labels(reason)
            self._source_failures.labels(reason)
        for what in repairs:
            self._repairs.labels(what)
        for reason in HaltReason:
            self._halts.labels(reason)
        for reason in (_LIMIT, "unreadable"):
            self._lost.labels(reason)

    def _gauges(self, version: str) -> None:
        build = self._gauge("build_info", "The version that runs", "version")
        build.labels(version).set(1)
        self._mode = self._gauge("mode", "1 for the mode in force", "mode")
        self._share = self._gauge(
            "enforced_share_ratio",
            "Share of subscribers that verdicts are acted on for",
        )
        self._until = self._gauge(
            "stance_until_timestamp_seconds",
            "When the stance in force ends by itself; 0 for never",
        )
        self._config_ok = self._gauge(
            "config_last_reload_successful", "Whether the last configuration was taken"
        )
        self._config_time = self._gauge(
            "config_last_reload_success_timestamp_seconds",
            "When a configuration was last taken",
        )
        self._registry_ok = self._gauge(
            "registry_last_load_successful", "Whether the last registry was taken"
        )
        self._registry_time = self._gauge(
            "registry_last_load_success_timestamp_seconds",
            "When a registry was last taken",
        )
        self._refresh_time = self._gauge(
            "registry_last_refresh_success_timestamp_seconds",
            "When a source last had the registry in force, or another one",
        )
        self._in_sync = self._gauge(
            "kernel_in_sync", "Whether the kernel held what it should at the last look"
        )
        self._interfaces = self._gauge(
            "interfaces", "Interfaces that the configuration means", "state"
        )
        self._armed = self._gauge(
            "deadman_armed", "Whether the dead man's switch lets throttling happen"
        )

    def _counters(self) -> None:
        self._refused = self._counter(
            "registry_loads_refused", "Registries not taken", "reason"
        )
        self._source_failures = self._counter(
            "registry_source_failures",
            "Sources passed over while another one had the registry",
            "reason",
        )
        self._handshakes = self._counter(
            "handshakes", "Evidence that appeared or grew", "tunnel", "evidence"
        )
        self._flow_counters: dict[tuple[str, Family, Verdict], Counter] = {}
        self._flows = self._counter(
            "flows",
            "Flows by their verdict; none: stayed unconfirmed until forgotten",
            *("tunnel", "family", "verdict"),
        )
        self._second_readings = self._counter(
            "second_reading",
            "Flows that a second reader was to confirm",
            *("tunnel", "outcome"),
        )
        self._captured = self._counter(
            "captured_packets", "Packets that recognition has seen"
        )
        self._lost = self._counter(
            "capture_lost_packets", "Packets that recognition has missed", "reason"
        )
        self._repairs = self._counter(
            "kernel_repairs", "Things put right in the kernel", "what"
        )
        self._halts = self._counter(
            "halts", "Times that enforcing stopped of itself", "reason"
        )

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"vpngate_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"vpngate_{name}", text, labels, registry=self.registry)

    def mode(self, mode: Mode, share: float, until: float = 0.0) -> None:
        """What is in force, and for which share of the subscribers (0 to 1).

        `until`: seconds since the epoch when it ends by itself; 0 for never.
        """
        for each in Mode:
            self._mode.labels(each).set(each is mode)
        self._share.set(share if mode is Mode.ENFORCE else 0)
        self._until.set(until)

    def public_keys(self, ids: Iterable[str]) -> None:
        """Whose signatures count, by the ids of their keys."""
        self._snapshot.keys = tuple(ids)

    def config_taken(self, now: float) -> None:
        """A configuration is in force, at start or by a reload."""
        self._config_ok.set(1)
        self._config_time.set(now)

    def config_refused(self) -> None:
        """A reload left the old configuration in force."""
        self._config_ok.set(0)

    def registry_taken(self, facts: RegistryFacts, now: float) -> None:
        """A source has what is in force now, new or as it was."""
        self._snapshot.registry = facts
        self._registry_ok.set(1)
        self._registry_time.set(now)
        self._refresh_time.set(now)

    def registry_refreshed(self, moment: float) -> None:
        """When a source last had what is in force, by what an earlier run knows."""
        self._refresh_time.set(moment)

    def registry_refused(self, reason: str) -> None:
        """A load left the old registry in force."""
        self._registry_ok.set(0)
        self._refused.labels(reason).inc()

    def source_failed(self, reason: str) -> None:
        """A source failed, and the next one was asked."""
        self._source_failures.labels(reason).inc()

    def registry_aged(self, facts: RegistryFacts) -> None:
        """The registry in force, as time has changed what is counted of it."""
        self._snapshot.registry = facts

    def handshake(self, tunnel: str, evidence: Evidence) -> None:
        """A flow's evidence appeared or grew."""
        self._handshakes.labels(tunnel, evidence.label).inc()

    def flow(self, tunnel: str, family: Family, verdict: Verdict) -> None:
        """A verdict was reached for a flow, or it was forgotten without one."""
        key = tunnel, family, verdict
        if (counter := self._flow_counters.get(key)) is None:  # labels() is dear
            counter = self._flows.labels(tunnel, family.label, verdict)
            self._flow_counters[key] = counter
        counter.inc()

    def second_reading(self, tunnel: str, outcome: Outcome) -> None:
        """The packets that confirmed a flow were read a second time, or were not."""
        self._second_readings.labels(tunnel, outcome).inc()

    def captured(self, packets: int) -> None:
        """Recognition saw `packets` more."""
        self._captured.inc(packets)

    def lost(self, reason: str, packets: int) -> None:
        """Recognition missed `packets` more."""
        self._lost.labels(reason).inc(packets)

    def verdict_in_kernel(self, seconds: float) -> None:
        """A verdict took effect, `seconds` after its packet arrived."""
        self._durations.verdict(seconds)

    def loop_lag(self, seconds: float) -> None:
        """The event loop was late."""
        self._durations.lag(seconds)

    def health(self, healthy: Callable[[], bool]) -> None:
        """Whom to ask, from any thread, whether all is well."""
        self._snapshot.healthy = healthy

    def in_sync(self, answer: bool) -> None:  # noqa: FBT001 - the fact itself
        """Whether the kernel held what it should."""
        self._in_sync.set(answer)

    def repaired(self, what: str) -> None:
        """Something in the kernel was put right."""
        self._repairs.labels(what).inc()

    def armed(self, answer: bool) -> None:  # noqa: FBT001 - the fact itself
        """Whether the dead man's switch is armed."""
        self._armed.set(answer)

    def interfaces(self, attached: int, left_alone: int) -> None:
        """How many vpngate stands at, and how many it leaves alone (`status`: why)."""
        self._interfaces.labels("attached").set(attached)
        self._interfaces.labels("left_alone").set(left_alone)

    def halted(self, reason: str) -> None:
        """Enforcing stopped of itself."""
        self._halts.labels(reason).inc()

    def kernel(self, totals: KernelTotals) -> None:
        """The data plane's totals at this moment.

        What a limit held back stands beside what else recognition has missed, which
        is counted elsewhere: so it is added as it grows.
        """
        self._snapshot.kernel = totals
        if totals.copies_held_back > self._held_back:
            self.lost(_LIMIT, totals.copies_held_back - self._held_back)
            self._held_back = totals.copies_held_back

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics in the format that `accept` asks for, and its content type.

        Plain where the library makes nothing of what was asked for: it raises then,
        or repeats a stranger's words as the content type.
        """
        if accept:
            with contextlib.suppress(Exception):
                encode, content_type = choose_encoder(accept)
                if _PRINTABLE.fullmatch(content_type):
                    return encode(self.registry), content_type
        encode, content_type = choose_encoder("")
        return encode(self.registry), content_type
