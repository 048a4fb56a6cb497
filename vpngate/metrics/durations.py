# SPDX-License-Identifier: GPL-2.0-or-later
"""How long things take, in histograms.

Knows which durations tell anything apart; does not know who measures them.
"""

from prometheus_client import CollectorRegistry, Histogram

# From the packet's arrival to the verdict in the kernel, seconds.
LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
# How late the event loop is, seconds; what is urgent has 0.1.
LAG_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Durations:
    """The histograms of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._latency = Histogram(
            "vpngate_verdict_latency_seconds",
            "From a packet's arrival to its verdict in the kernel",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self._lag = Histogram(
            "vpngate_event_loop_lag_seconds",
            "How late the event loop was, twice a second",
            buckets=LAG_BUCKETS,
            registry=registry,
        )

    def verdict(self, seconds: float) -> None:
        """A verdict took effect so long after its packet arrived."""
        self._latency.observe(max(0.0, seconds))

    def lag(self, seconds: float) -> None:
        """The event loop was so late."""
        self._lag.observe(seconds)
