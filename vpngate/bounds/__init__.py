# SPDX-License-Identifier: GPL-2.0-or-later
"""The bounds beyond which enforcing stops of itself.

Knows what is counted against each, over what time, and what does not count because
somebody outside could bring it about; does not know who counts, the clock, nor what
follows. Counts are totals that only grow; times are of a clock that never jumps, in
seconds, and come in as arguments.
"""

from vpngate.bounds.capture_loss import CaptureLoss
from vpngate.bounds.spared_packets import SETTLING, SparedPackets
from vpngate.bounds.throttled_share import ThrottledShare

__all__ = [
    "SETTLING",
    "CaptureLoss",
    "SparedPackets",
    "ThrottledShare",
]
