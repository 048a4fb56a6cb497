# SPDX-License-Identifier: GPL-2.0-or-later
"""The totals of the data plane, put together from where they are counted.

Knows which named counter and which queue counts what; does not know how either is
read from the kernel.
"""

import time
from collections.abc import Iterable

from vpngate.kernel.detour.throttled import Throttled
from vpngate.kernel.plane import Counters, Glance
from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.table.witness import Witness
from vpngate.packets import Direction, Family
from vpngate.ruleset import names


def total(table: OwnedTable, throttled: Throttled) -> Counters:
    """Current totals; the table counts packets and bytes by name."""
    counted = table.counters()
    passed = throttled.classes.passed()
    traffic = {d.value: counted[names.traffic_counter(d)] for d in Direction}
    return Counters(
        traffic_packets={d: packets for d, (packets, _) in traffic.items()},
        traffic_bytes={d: octets for d, (_, octets) in traffic.items()},
        diverted_packets={
            d.value: counted[names.throttled_counter(d)][0] for d in Direction
        },
        throttled_packets={d.value: passed[d].packets for d in Direction},
        throttled_bytes={d.value: passed[d].bytes for d in Direction},
        dropped_packets={d.value: passed[d].dropped for d in Direction},
        spared_packets={f.label: counted[names.spared_counter(f)][0] for f in Family},
        witness_packets={f.label: counted[names.witness(f)][0] for f in Family},
        reverse_path_failed=counted[names.REVERSE_PATH_FAILED][0],
        copies_held_back=sum(counted[name][0] for name in names.HELD_BACK),
        throttled_flows={f.label: n for f, n in throttled.live.items()},
        throttled_by_tunnel={f.label: n for f, n in throttled.live_by_tunnel.items()},
        throttled_subscribers=throttled.subscribers,
        buckets_shared=throttled.shared,
        verdicts_refused=throttled.refused,
    )


def glance(
    table: OwnedTable,
    throttled: Throttled,
    witness: Witness,
    *,
    differed: int,
    disagreements: int,
) -> Glance:
    """What is looked at every second; what differed as it was told."""
    counted = table.counters()

    def packets(counters: Iterable[str]) -> int:
        return sum(counted[name][0] for name in counters)

    return Glance(
        at=time.monotonic(),
        changed=table.changed,
        traffic_bytes=sum(counted[names.traffic_counter(d)][1] for d in Direction),
        throttled_bytes=throttled.classes.through(),
        spared_packets=packets(map(names.spared_counter, Family)),
        witness_packets=packets(map(names.witness, Family)),
        waiting=witness.waiting(),
        differed=differed,
        disagreements=disagreements,
    )
