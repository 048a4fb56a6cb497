# SPDX-License-Identifier: GPL-2.0-or-later
"""What is counted of the snapshot in force: its registry, and where it acts.

Knows which facts are shown to people and programs; does not know how.
"""

from vpngate.config import Mode
from vpngate.daemon.in_force import InForce, counted
from vpngate.metrics import Metrics, RegistryFacts
from vpngate.registry import Registry
from vpngate.stance import ALL
from vpngate.supply.registry_keys import key_ids
from vpngate.timekeeping.moments import When

EXPIRING_WITHIN = {"24h": 86400.0, "7d": 7 * 86400.0}


def facts_of(registry: Registry, rejected: int, now: When) -> RegistryFacts:
    """What the metrics show of a registry."""
    return RegistryFacts(
        prefixes=registry.prefixes,
        rejected_rows=rejected,
        serial=registry.serial,
        generated=registry.generated,
        expires=registry.expires,
        expiring={
            name: registry.expiring(now, within)
            for name, within in EXPIRING_WITHIN.items()
        },
        grace=registry.in_grace(now),
        digest=registry.intervals_digest,
    )


def announce_machine(metrics: Metrics, in_force: InForce) -> None:
    """Tell the metrics where vpngate stands, and whether it acts there."""
    snapshot = in_force.snapshot
    stance = snapshot.stance
    mode = Mode.ENFORCE if snapshot.enforcing else Mode.OBSERVE
    metrics.mode(mode, stance.share / ALL, stance.ends or 0.0)
    metrics.interfaces(len(in_force.attached), len(in_force.left_alone))
    metrics.public_keys(key_ids(snapshot.config.registry))


def one_line(in_force: InForce) -> str:
    """What the daemon does, for the service manager and the log."""
    snapshot = in_force.snapshot
    return (
        f"{snapshot.stance.mode.value} on {counted(in_force.attached)}; "
        f"{len(snapshot.registry)} registrations"
    )
