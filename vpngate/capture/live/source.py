# SPDX-License-Identifier: GPL-2.0-or-later
"""What every live source of packets has in common.

Knows what a received packet is worth and how a source is asked for more; does not
know where packets come from.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple, Protocol, Self

from vpngate.packets import HookPoint, Packet


class Captured(NamedTuple):
    """A copy of a packet, and where and when it was seen."""

    packet: Packet
    hook: HookPoint | None  # None: a mirror's frames crossed no hook of ours
    ifindex: int
    timestamp: float  # seconds since the epoch


class LiveCapture(ABC):
    """What a live source has of itself: its counts, and an end.

    Each attribute is what `PacketSource` says of it.
    """

    def __init__(self) -> None:
        self.read = 0
        self.is_drained = False
        self.lost_before = 0
        self.witnesses = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Stop receiving; harmless when closed already."""


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
    def read(self) -> int:
        """Copies that were read since the start, whether or not they can be decoded."""
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
