# SPDX-License-Identifier: GPL-2.0-or-later
"""Some of what waits on the ifbs, asked of the prefix tree.

Knows when tree and kernel have been told the same for long enough to be compared; does
not know how packets are sampled. No address is kept, shown or counted.

The witness in the kernel asks the sets that the throttle chains ask: it cannot see
that these are wrong. The tree is what they were made of.
"""

from vpngate.bounds import SETTLING
from vpngate.daemon.applying.in_kernel import InKernel
from vpngate.kernel.plane import Glance


class Samples:
    """Looks up what a glance has seen."""

    def __init__(self, kernel: InKernel) -> None:
        self._kernel = kernel

    def spared(self, glance: Glance, settled: float) -> int:
        """How many of its packets have an end that should be spared.

        `settled` is `InKernel.settled` from before the glance. A sample is 3 s old at
        most, so that after 5 s none is left from before a change.
        """
        if settled != self._kernel.settled:
            return 0
        if glance.at - max(settled, glance.changed) < SETTLING:
            return 0
        should = self._kernel.should_spare
        return sum(any(map(should, ends)) for ends in glance.waiting)
