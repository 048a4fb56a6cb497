# SPDX-License-Identifier: GPL-2.0-or-later
"""What is asked of either way in which programs stand at the hooks of an interface.

Knows what there is to ask; there is one implementation for each way.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Protocol, TypeAlias

from vpngate.kernel.wire.channel import Channel
from vpngate.kernel.wire.links import What
from vpngate.packets import HookPoint

# Descriptors of programs, by the hook that each is for.
Standing: TypeAlias = Mapping[HookPoint, int]


class Attachment(Protocol):
    """Interfaces are known by their indexes. One thread alone may use it.

    lasting    whether what stands there outlives this process
    announced  what the kernel says of an interface when this may have changed
    kept       where none of our programs stands, but what they stood in is ours
    """

    lasting: bool
    announced: Collection[What]

    @property
    def kept(self) -> Collection[int]:
        """In any thread."""
        ...

    def stand_at(self, index: int, those: Standing) -> None:
        """Have exactly these stand there, with no packet in between that meets none.

        KernelRefused if it cannot be: some may stand there then.
        """
        ...

    def stands_at(self, index: int, those: Standing) -> bool:
        """Whether they do, as the kernel has it."""
        ...

    def leave(self, index: int) -> None:
        """Have none of ours stand there, those of a dead daemon's neither.

        No packet is lost for it: what they stood in may stay, and is `kept`.
        """
        ...

    def vacate(self, index: int) -> None:
        """Leave it for good, with what they stood in, if nobody else stands there."""
        ...

    def lost(self, index: int) -> None:
        """What they stood in is gone, or the interface; in any thread."""
        ...

    def forget(self, index: int) -> None:
        """The interface is going, or is gone, with whatever stands there."""
        ...


# Given a channel of rtnetlink and the name of our table.
Attaching: TypeAlias = Callable[[Channel, str], Attachment]
