# SPDX-License-Identifier: GPL-2.0-or-later
"""What enforcing would have done since the start, while this gateway observes.

Knows what of it is known and what is not: flows are counted when they are recognised,
and bytes of single flows not at all, since the kernel would have to look every packet's
flow up for that. No address is in it.
"""

from typing import Any

from vpngate.daemon.traffic.observed import Observed
from vpngate.kernel.plane import Counters
from vpngate.snapshot import Snapshot


def would_have(
    snapshot: Snapshot, observed: Observed, counters: Counters | None
) -> dict[str, Any] | None:
    """The flows it would have slowed, by tunnel; None while it enforces.

    bytes_of_these  None: not known
    bytes_of_all    what has crossed the hooks, by direction
    """
    if snapshot.enforcing:
        return None
    return {
        "slowed_flows": {
            tunnel.name: observed.slowed[tunnel.name] for tunnel in snapshot.tunnels
        },
        "touched_registered": observed.registered,
        "bytes_of_these": None,
        "bytes_of_all": dict(counters.traffic_bytes) if counters else {},
    }
