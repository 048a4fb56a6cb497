# SPDX-License-Identifier: GPL-2.0-or-later
"""What all ifbs together have passed, read so that it costs next to nothing.

Knows that an ifb that is made anew begins at zero; does not know classes, whose own
counts take long to read where they are many (`classes.py`).
"""

from vpngate.kernel.detour.ifbs import Shaper
from vpngate.kernel.wire.channel import Channel
from vpngate.kernel.wire.links import received_at


class Through:
    """Bytes that have left the queues since the start; the total never goes back."""

    def __init__(self, channel: Channel, shaper: Shaper) -> None:
        self._channel = channel
        self._shaper = shaper
        self._seen: dict[int, int] = {}  # by the ifb's index
        self._total = 0

    def read(self) -> int:
        """The total until now."""
        indexes = sorted(self._shaper.indexes)
        told = received_at(self._channel, indexes)
        seen = {i: n for i, n in zip(indexes, told, strict=True) if n is not None}
        self._total += sum(n - self._seen.get(i, 0) for i, n in seen.items())
        self._seen = seen
        return self._total
