# SPDX-License-Identifier: GPL-2.0-or-later
"""Sets of addresses as merged, disjoint, sorted intervals, in bulk.

Knows both families and set arithmetic on numpy arrays; does not know what the
addresses stand for.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.uint8]


@dataclass(frozen=True)
class Intervals:
    """Disjoint intervals, not even adjacent, sorted; both ends belong to them.

    For each family `first` and `last` are arrays of shape (n, width) holding
    addresses in network byte order: width 4 for IPv4, 16 for IPv6.
    """

    first4: Rows
    last4: Rows
    first6: Rows
    last6: Rows
