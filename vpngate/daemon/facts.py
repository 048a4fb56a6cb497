# SPDX-License-Identifier: GPL-2.0-or-later
"""What is counted of a registry.

Knows which of its facts are shown to people and programs; does not know how.
"""

from vpngate.metrics import RegistryFacts
from vpngate.registry import Registry, When

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
    )
