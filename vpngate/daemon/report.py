# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon says of itself: `status`, and the registry's facts for the metrics.

Knows how the state is put into words and numbers; changes nothing. No address and
no prefix of anyone is in it.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from vpngate.daemon.snapshot import Snapshot
from vpngate.daemon.totals import Totals
from vpngate.flows import FlowTable
from vpngate.metrics import RegistryFacts
from vpngate.recognition import Evidence
from vpngate.registry import Registry, When
from vpngate.registry.moments import format_moment
from vpngate.units import format_rate

EXPIRING_WITHIN = {"24h": 86400.0, "7d": 7 * 86400.0}


def registry_facts(registry: Registry, rejected: int, now: When) -> RegistryFacts:
    """What the metrics show of a registry."""
    return RegistryFacts(
        prefixes=registry.prefixes,
        rejected_rows=rejected,
        serial=registry.serial,
        generated=registry.generated,
        expiring={
            name: registry.expiring(now, within)
            for name, within in EXPIRING_WITHIN.items()
        },
    )


def describe_registry(registry: Registry) -> dict[str, Any]:
    """The registry in force: which one, and how large."""
    moments = {"generated": registry.generated, "loaded": registry.loaded}
    return {
        "name": registry.name,
        "serial": registry.serial,
        **{
            name: None if moment is None else format_moment(round(moment))
            for name, moment in moments.items()
        },
        "prefixes": {f.label: n for f, n in registry.prefixes.items()},
    }


def describe_flows(flows: FlowTable, verdicts: Mapping[str, Counter[str]]) -> Any:
    """By tunnel: the flows that are followed, and the verdicts reached since start."""
    counts = flows.counts()
    return {
        tunnel: {
            **{e.label: counts.get((tunnel, e), 0) for e in Evidence},
            "verdicts": dict(reached),
        }
        for tunnel, reached in verdicts.items()
    }


def describe_throttling(snapshot: Snapshot, totals: Totals) -> dict[str, Any]:
    """The slower class: its limit, who is in it, and what it passes now."""
    latest = totals.latest
    return {
        "limit": format_rate(snapshot.config.throttle.rate),
        "flows": latest.throttled_flows if latest else {},
        "rate": {d: format_rate(round(r)) for d, r in totals.rate.items()},
        "packets": latest.throttled_packets if latest else {},
        "dropped": latest.dropped_packets if latest else {},
        "spared": latest.spared_packets if latest else {},
    }
