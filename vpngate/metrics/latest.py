# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers that others count, shown as they were last handed in.

Knows how the registry's facts and the kernel's totals appear as metrics; does
not know when they are read, and counts nothing itself.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vpngate.packets import Direction, Family


class KernelTotals(Protocol):
    """Totals of the data plane since it was started, by value of the label."""

    @property
    def traffic_packets(self) -> Mapping[str, int]:
        """By direction: all that crossed the hooks."""

    @property
    def traffic_bytes(self) -> Mapping[str, int]:
        """By direction."""

    @property
    def throttled_packets(self) -> Mapping[str, int]:
        """By direction."""

    @property
    def throttled_bytes(self) -> Mapping[str, int]:
        """By direction."""

    @property
    def dropped_packets(self) -> Mapping[str, int]:
        """By direction: what the slower class had no room for."""

    @property
    def spared_packets(self) -> Mapping[str, int]:
        """By family."""

    @property
    def witness_packets(self) -> Mapping[str, int]:
        """By family: of spared addresses, where throttled packets wait."""

    @property
    def reverse_path_failed(self) -> int:
        """Candidates that came in by another interface than their source lives at."""

    @property
    def copies_held_back(self) -> int:
        """Candidates that a limit on copies kept from recognition."""

    @property
    def throttled_by_tunnel(self) -> Mapping[str, Mapping[str, int]]:
        """By family and tunnel, now."""

    @property
    def throttled_subscribers(self) -> int:
        """Of whom a verdict is in force, now."""

    @property
    def buckets_shared(self) -> int:
        """Subscribers that share another's bucket, now."""

    @property
    def verdicts_refused(self) -> int:
        """Verdicts for which there was no room: their flows are left alone."""


@dataclass(frozen=True, slots=True)
class RegistryFacts:
    """The registry in force: what of it is counted.

    `serial`, `generated` and `expires` (seconds since the epoch) are None where the
    format has none; `expiring` counts prefixes by the time within which they end,
    `grace` those that stand for their grace alone. `digest` is of the addresses.
    """

    prefixes: Mapping[Family, int]
    rejected_rows: int
    serial: int | None = None
    generated: float | None = None
    expires: float | None = None
    expiring: Mapping[str, int] = field(default_factory=dict)
    grace: Mapping[Family, int] = field(default_factory=dict)
    digest: str = ""


# The totals of the kernel: attribute, metric, explanation, label, its values.
_DIRECTIONS = tuple(direction.value for direction in Direction)
_FAMILIES = tuple(family.label for family in Family)
_TOTALS = (
    (
        "traffic_packets",
        "traffic_packets",
        "Packets that crossed the hooks, throttled or not",
        "direction",
        _DIRECTIONS,
    ),
    (
        "traffic_bytes",
        "traffic_bytes",
        "Bytes that crossed the hooks; what comes in without its link header",
        "direction",
        _DIRECTIONS,
    ),
    (
        "throttled_packets",
        "throttled_packets",
        "Packets that left the slower class",
        "direction",
        _DIRECTIONS,
    ),
    (
        "throttled_bytes",
        "throttled_bytes",
        "Bytes that left the slower class",
        "direction",
        _DIRECTIONS,
    ),
    (
        "dropped_packets",
        "throttle_dropped_packets",
        "Packets that the slower class had no room for",
        "direction",
        _DIRECTIONS,
    ),
    (
        "spared_packets",
        "spared_packets",
        "Packets with a throttle verdict that were spared all the same",
        "family",
        _FAMILIES,
    ),
    (
        "witness_packets",
        "witness_packets",
        "Packets of spared addresses that were sent to be slowed: must be none",
        "family",
        _FAMILIES,
    ),
)


class LatestNumbers(Collector):
    """The registry's facts and the kernel's totals, each replaced whole.

    keys     ids of those whose signatures count
    healthy  asked at each collection, from any thread
    """

    registry: RegistryFacts | None = None
    kernel: KernelTotals | None = None
    keys: tuple[str, ...] = ()
    healthy: Callable[[], bool] | None = None

    def __init__(self, tunnels: Iterable[str] = ()) -> None:
        """`tunnels` are the names that are shown also where there is none of them."""
        self._tunnels = tuple(tunnels)

    def collect(self) -> Iterator[Metric]:
        """What is known so far; nothing is shown that was never handed in."""
        # Each is read once: another thread may replace it meanwhile.
        facts, totals = self.registry, self.kernel
        if facts is not None:
            yield from _of_registry(facts)
            yield _ones("registry_info", "What is registered", "digest", [facts.digest])
        yield _ones(
            "registry_public_key_info", "Keys that may sign", "key_id", self.keys
        )
        if self.healthy is not None:
            yield GaugeMetricFamily(
                "vpngate_healthy", "Whether /healthz says 200", value=self.healthy()
            )
        if totals is not None:
            yield from _of_kernel(totals)
            yield _throttled(totals.throttled_by_tunnel, self._tunnels)


def _of_registry(facts: RegistryFacts) -> Iterator[Metric]:
    prefixes = {family.label: number for family, number in facts.prefixes.items()}
    yield _gauges("registry_prefixes", "Prefixes", "family", _FAMILIES, prefixes)
    grace = {family.label: number for family, number in facts.grace.items()}
    text = "Prefixes that stand for their grace alone"
    yield _gauges("registry_grace_prefixes", text, "family", _FAMILIES, grace)
    yield _gauges(
        "registry_expiring_prefixes",
        "Prefixes whose registration ends soon",
        "within",
        facts.expiring,
        facts.expiring,
    )
    single = {
        "rows_rejected": ("Rows that could not be read", facts.rejected_rows),
        "serial": ("The registry's serial", facts.serial),
        "generated_timestamp_seconds": ("When it was made", facts.generated),
        "expires_timestamp_seconds": (
            "Until when it is meant to be used",
            facts.expires,
        ),
    }
    for name, (text, value) in single.items():
        if value is not None:
            yield GaugeMetricFamily(f"vpngate_registry_{name}", text, value=value)


def _of_kernel(totals: KernelTotals) -> Iterator[Metric]:
    for attribute, name, text, label, values in _TOTALS:
        counted = CounterMetricFamily(f"vpngate_{name}", text, labels=[label])
        for value in values:
            counted.add_metric([value], getattr(totals, attribute).get(value, 0))
        yield counted
    yield GaugeMetricFamily(
        "vpngate_throttled_subscribers",
        "Subscribers of whom a flow has a throttle verdict now",
        value=totals.throttled_subscribers,
    )
    yield GaugeMetricFamily(
        "vpngate_throttle_shared_buckets",
        "Subscribers that share another's bucket now",
        value=totals.buckets_shared,
    )
    yield CounterMetricFamily(
        "vpngate_reverse_path_failed_packets",
        "Candidates that came in where their source does not live: no evidence",
        value=totals.reverse_path_failed,
    )
    yield CounterMetricFamily(
        "vpngate_verdicts_refused",
        "Throttle verdicts beyond throttle.max_flows, not acted on",
        value=totals.verdicts_refused,
    )


def _throttled(
    counts: Mapping[str, Mapping[str, int]], tunnels: tuple[str, ...]
) -> GaugeMetricFamily:
    """The verdicts in force: of every tunnel that is known, and whatever there is."""
    gauges = GaugeMetricFamily(
        "vpngate_throttled_flows",
        "Flows with a throttle verdict now",
        labels=["family", "tunnel"],
    )
    for family in _FAMILIES:
        there = counts.get(family, {})
        for tunnel in dict.fromkeys((*tunnels, *there)):
            gauges.add_metric([family, tunnel], there.get(tunnel, 0))
    return gauges


def _ones(name: str, text: str, label: str, values: Iterable[str]) -> GaugeMetricFamily:
    """A gauge that is 1 for each value: the label is what it says."""
    gauges = GaugeMetricFamily(f"vpngate_{name}", text, labels=[label])
    for value in values:
        gauges.add_metric([value], 1)
    return gauges


def _gauges(
    name: str,
    text: str,
    label: str,
    values: Iterable[str],
    numbers: Mapping[str, int],
) -> GaugeMetricFamily:
    gauges = GaugeMetricFamily(f"vpngate_{name}", text, labels=[label])
    for value in values:
        gauges.add_metric([value], numbers.get(value, 0))
    return gauges
