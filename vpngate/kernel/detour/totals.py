# SPDX-License-Identifier: GPL-2.0-or-later
"""The totals of the data plane, put together from where they are counted.

Knows which named counter and which queue counts what; does not know how either is
read from the kernel.
"""

from vpngate.kernel.detour.throttled import Throttled
from vpngate.kernel.plane import Counters
from vpngate.kernel.table.owned import OwnedTable
from vpngate.packets import Direction, Family
from vpngate.ruleset import names


def total(table: OwnedTable, throttled: Throttled) -> Counters:
    """Current totals."""
    counted = table.counters()
    slowed = {d: counted[names.throttled_counter(d)] for d in Direction}
    drops = throttled.classes.drops()
    return Counters(
        throttled_packets={d.value: slowed[d][0] for d in Direction},
        throttled_bytes={d.value: slowed[d][1] for d in Direction},
        dropped_packets={d.value: drops[d] for d in Direction},
        spared_packets={f.label: counted[names.spared_counter(f)][0] for f in Family},
        reverse_path_failed=counted[names.REVERSE_PATH_FAILED][0],
        throttled_flows={f.label: n for f, n in throttled.live.items()},
        buckets_shared=throttled.shared,
        verdicts_refused=throttled.refused,
    )
