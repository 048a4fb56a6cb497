# SPDX-License-Identifier: GPL-2.0-or-later
"""What acting would have done while nothing was acted on, counted.

Knows which tunnel a flow was of, and asks a second time, of another form of the same
registry, whether an end of it is to be left alone; keeps no flow and no address.
"""

from collections import Counter
from collections.abc import Callable

from vpngate.prefixes.intervals import Intervals
from vpngate.recognition import Sighting
from vpngate.snapshot import Snapshot


class Observed:
    """Counts since the start.

    slowed      flows that would have been slowed, by tunnel
    registered  those of them of which an end is registered or protected by what the
                kernel was told: there must be none
    spared_by   whom the kernel was told to spare; None where not of that snapshot
    """

    def __init__(self) -> None:
        self.slowed: Counter[str] = Counter()
        self.registered = 0
        self.spared_by: Callable[[Snapshot], Intervals | None] = lambda _: None

    def note(self, sighting: Sighting, snapshot: Snapshot) -> None:
        """One more flow that would have been slowed by a snapshot."""
        self.slowed[sighting.tunnel.name] += 1
        if (spared := self.spared_by(snapshot)) is not None:
            ends = sighting.initiator, sighting.responder
            self.registered += any(spared.contains(end.address) for end in ends)
