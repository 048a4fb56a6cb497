# SPDX-License-Identifier: GPL-2.0-or-later
"""What of nftables a kernel lacks, told for what it is.

Knows the words for it and what to do; does not know when it shows.
"""

from vpngate.errors import MissingFeature, Problem
from vpngate.kernel.wire.failures import Failure


def no_forwarding(failure: Failure) -> MissingFeature:
    """No rule can send packets to where they wait, at one of the hooks."""
    return MissingFeature(
        Problem(
            "kernel",
            f"cannot forward packets at both hooks ({failure.what}: {failure}),"
            " so that nothing can be enforced",
            "take Linux 5.17 or later, with the module nft_fwd_netdev; vpngate can"
            ' observe on this one (gateway.mode = "observe")',
        )
    )
