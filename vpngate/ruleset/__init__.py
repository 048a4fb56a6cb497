# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel should hold, as data.

Knows the shape of the netdev table (DESIGN: hooks, verdict maps, spared sets,
signatures, dead man's switch, limits); does not know netlink, and nothing of what
the kernel holds at the moment.
"""

from dataclasses import dataclass

from vpngate.prefixes.intervals import Intervals
from vpngate.recognition import Carrier
from vpngate.signatures import Signature


@dataclass(frozen=True)
class Ruleset:
    """Everything that decides the content of the table and the ifb.

    interfaces are the names that exist now (globs already resolved); `enforce` is
    False in observe mode: then nothing but the copying of handshakes is installed.
    """

    table: str
    interfaces: tuple[str, ...]
    subscriber_side: bool  # False: the interfaces face the uplink, directions swap
    hook_priority: int
    enforce: bool
    deadman: float  # seconds
    rate: int  # bit/s, a bucket and direction
    max_flows: int
    signatures: tuple[Signature, ...]
    carriers: tuple[Carrier, ...]  # of all tunnels, enabled or not: their maps last
    nflog_group: int
    packets_per_second: int  # copies in all, shared out among the signatures
    reverse_path: bool  # a candidate has to come in where its source lives
    spared: Intervals  # the registry's; what is protected is told apart from this
