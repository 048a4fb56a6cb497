# SPDX-License-Identifier: GPL-2.0-or-later
"""A ruleset as the shipped configuration gives it, enforcing, of everything there is.

Knows no test: each says with `dataclasses.replace` what it needs to be different.
"""

from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset
from vpngate.tunnels import all_carriers, all_tunnels

RULESET = Ruleset(
    table="vpngate",
    interfaces=("lan0", "lan1"),
    subscriber_side=True,
    hook_priority=500,
    enforce=True,
    deadman=30.0,
    rate=5_000_000,
    max_flows=1000,
    signatures=tuple(s for tunnel in all_tunnels() for s in tunnel.signatures),
    carriers=all_carriers(),
    nflog_group=5170,
    packets_per_second=20_000,
    reverse_path=True,
    spared=Intervals.empty(),
)
