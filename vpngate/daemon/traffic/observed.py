# SPDX-License-Identifier: GPL-2.0-or-later
"""What acting would have done while nothing was acted on, counted.

Knows which tunnel a flow was of, and asks a second time, of another form of the same
registry, whether an end of it is to be left alone; keeps no flow and no address.
"""

from collections import Counter
from collections.abc import Callable

from vpngate.recognition import Sighting
from vpngate.snapshot import Snapshot


class Observed:
    """Counts since the start.

    slowed      flows that would have been slowed, by tunnel
    registered  those of them of which an end is registered or protected by what the
                kernel was told: there must be none
    is_spared   whether an address is, by that, where it was told of a snapshot
    """

    def __init__(self) -> None:
        self.slowed: Counter[str] = Counter()
        self.registered = 0
        self.is_spared: Callable[[Snapshot, bytes], bool] = lambda *_: False

    def note(self, sighting: Sighting, snapshot: Snapshot) -> None:
        """One more flow that would have been slowed by a snapshot."""
        self.slowed[sighting.tunnel.name] += 1
        ends = sighting.initiator, sighting.responder
        self.registered += any(self.is_spared(snapshot, end.address) for end in ends)
