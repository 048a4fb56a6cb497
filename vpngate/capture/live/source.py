# SPDX-License-Identifier: GPL-2.0-or-later
"""What every live source of packets has in common.

Knows what a received packet is worth and how a source is asked for more; does not
know where packets come from.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from vpngate.packets import HookPoint, Packet


class Captured(NamedTuple):
    """A copy of a packet, and where and when it was seen."""

    packet: Packet
    hook: HookPoint | None  # None: a mirror's frames crossed no hook of ours
    ifindex: int
    timestamp: float  # seconds since the epoch


class PacketSource(Protocol):
    """A live source of packets for an event loop."""

    def fileno(self) -> int:
        """A descriptor that is readable when packets wait."""
        ...

    def receive(self) -> list[Captured]:
        """The packets that wait (not all, if they are many); never blocks.

        What cannot be decoded is left out.
        """
        ...

    @property
    def losses(self) -> Mapping[str, int]:
        """What was lost since the start, by reason (the label of a metric)."""
        ...

    @property
    def is_drained(self) -> bool:
        """Whether the last `receive` left nothing."""
        ...

    @property
    def lost_before(self) -> int:
        """Packets that were missing before the first one after such a `receive`."""
        ...

    @property
    def witnesses(self) -> int:
        """How often a rule has told that somebody is slowed who should not be."""
        ...

    def close(self) -> None:
        """Stop receiving; harmless when closed already."""
        ...
