# SPDX-License-Identifier: GPL-2.0-or-later
"""Which flows have an end among some addresses, many at a time."""

from collections.abc import Sequence

import numpy as np

from vpngate.packets import Family
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals
from vpngate.prefixes.rows import Flags, rows_of


def ends_among(flows: Sequence[Throttle], addresses: Intervals) -> Flags:
    """For each flow, whether either of its ends is among the addresses."""
    among = np.zeros(len(flows), dtype=np.bool_)
    for family in Family:
        mine = [n for n, flow in enumerate(flows) if flow.subscriber.family is family]
        for ends in (
            b"".join(flows[n].subscriber.address for n in mine),
            b"".join(flows[n].remote.address for n in mine),
        ):
            among[mine] |= addresses.contains_each(rows_of(ends, family))
    return among
