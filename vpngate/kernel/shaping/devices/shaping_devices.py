# SPDX-License-Identifier: GPL-2.0-or-later
"""What the shaper asks of the devices that its classes stand on, whatever their kind.

Knows what there is to ask; does not know how a device hands packets back. There is one
implementation for each kind.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from vpngate.kernel.wire.links import Link
from vpngate.kernel.wire.tc import Queue


class ShapingDevices(Protocol):
    """All devices of one kind that a table may have, by their number.

    One thread alone may use it.
    """

    @property
    def names(self) -> Sequence[str]:
        """What each is called, also those that are not there."""
        ...

    def there(self) -> list[Link | None]:
        """What has each of the names now, whoever's it is."""
        ...

    def make(self, number: int) -> int:
        """Make one anew, ready to be sent packets, but for the queue at its root.

        Its index. KernelRefused if somebody else has one of that name, MissingFeature
        if there can be none.
        """
        ...

    def is_ours(self, number: int, link: Link) -> bool:
        """Whether what has such a name was made by vpngate."""
        ...

    def objection_to(self, link: Link, root: Queue | None) -> str:
        """Why what has such a name is somebody else's; empty if it is ours.

        `root` is the queueing discipline at its root, if that was looked at.
        """
        ...

    def delete(self, link: Link) -> None:
        """Delete one, with all that waits in it."""
        ...

    def whole(self, found: Mapping[int, Link]) -> set[int]:
        """The numbers of those that hand on what they are given, as they should.

        `found` is what is at the index of each; its root is the asker's matter.
        """
        ...

    def is_down(self, link: Link) -> bool:
        """Whether what was announced of one says that it hands on nothing any more.

        One that is still being made does not count. In any thread.
        """
        ...

    def watched(self, number: int) -> Collection[int]:
        """The indexes of which an announcement may concern a device, once made."""
        ...

    def passed(self, indexes: Sequence[int]) -> list[int | None]:
        """The bytes that have left the root of each; None where it is gone."""
        ...
