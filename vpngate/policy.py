# SPDX-License-Identifier: GPL-2.0-or-later
"""From evidence and registry to a verdict, and what the kernel is to do with it.

Knows the rule of the house: a registered end, on either side, allows; only a
confirmed flow of an enabled tunnel is ever slowed; in doubt, leave it alone. Does
not know packets, nftables, or the time.
"""

from dataclasses import dataclass
from enum import StrEnum

from vpngate.packets import Endpoint, Transport


class Verdict(StrEnum):
    """What becomes of a flow. There is no verdict that blocks, by design."""

    NONE = "none"  # not confirmed: nothing is done
    ALLOW = "allow"  # registered, at either end
    THROTTLE = "throttle"


@dataclass(frozen=True, slots=True)
class Throttle:
    """One flow that the kernel is to slow, in both directions.

    subscriber  the end on the subscriber side, remote the other; port 0 where the
                transport has none
    bucket      the subscriber's network (address masked by `subscriber_prefix`):
                flows of one bucket share its rate
    idle        seconds without a packet after which the verdict ends
    """

    transport: Transport
    subscriber: Endpoint
    remote: Endpoint
    bucket: bytes
    idle: int
