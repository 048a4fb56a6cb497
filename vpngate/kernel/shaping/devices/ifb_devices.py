# SPDX-License-Identifier: GPL-2.0-or-later
"""The devices themselves: made, found by their names, and deleted; others' are not.

Knows which of the devices of such a name are ours: by what they were given as they were
made, or since they are the very ones that were made here. Does not know what stands on
them.
"""

import errno
from collections.abc import Collection, Mapping, Sequence

from pyroute2.netlink.exceptions import NetlinkError

from vpngate.errors import KernelRefused, Problem
from vpngate.kernel.shaping.devices.naming import (
    ADDRESS,
    REMEDY,
    ifb_names,
    objection_to,
)
from vpngate.kernel.shaping.refusals import lacking
from vpngate.kernel.shaping.route import Route
from vpngate.kernel.wire.channel import Channel
from vpngate.kernel.wire.failures import in_one_line
from vpngate.kernel.wire.link_details import bytes_at
from vpngate.kernel.wire.links import Link, links_named
from vpngate.kernel.wire.tc import Queue


class IfbDevices:
    """The ifbs of one table: see `ShapingDevices`. One thread alone may use it."""

    def __init__(self, table: str, route: Route, channel: Channel) -> None:
        self.names: Sequence[str] = ifb_names(table)
        self._route = route
        self._channel = channel
        self._made: dict[int, int] = {}  # the index of each that was made last

    def there(self) -> list[Link | None]:
        """What has each of the names now, whoever's it is."""
        return links_named(self._channel, self.names)

    def make(self, number: int) -> int:
        """Make one anew, up at once: no announcement says that it is down.

        Its index. KernelRefused if somebody else has made one of that name,
        MissingFeature if there can be none.
        """
        name = self.names[number]
        [link] = links_named(self._channel, [name])
        if link is not None and not self.is_ours(number, link):
            where, what = f"interface {name}", self.objection_to(link, None)
            raise KernelRefused(Problem(where, what, REMEDY))
        if link is not None:
            self.delete(link)
        told = {"ifname": name, "kind": "ifb", "state": "up"}
        try:
            self._route.link("add", address=ADDRESS.hex(":"), **told)
            found = self._route.link_lookup(ifname=name)
        except NetlinkError as error:
            raise lacking(name, f"cannot be made: {error.args[-1]}", "ifb") from error
        if not found:
            raise KernelRefused(Problem(f"interface {name}", "went as it was made"))
        self._made[number] = found[0]
        return self._made[number]

    def is_ours(self, number: int, link: Link) -> bool:
        """Whether what has such a name was made by vpngate."""
        made_here = link.kind == "ifb" and link.index == self._made.get(number)
        return made_here or not self.objection_to(link, None)

    def objection_to(self, link: Link, root: Queue | None) -> str:
        """Why what has such a name is somebody else's; empty if it is ours."""
        return objection_to(link, root)

    def delete(self, link: Link) -> None:
        """Delete one, with all that waits in it."""
        with in_one_line(f"remove {link.name}"):
            try:
                self._route.link("del", index=link.index)
            except NetlinkError as error:
                if error.code != errno.ENODEV:  # somebody else was faster
                    raise

    def whole(self, found: Mapping[int, Link]) -> set[int]:
        """The numbers of those that hand on what they are given."""
        return {
            number
            for number, link in found.items()
            if link.name == self.names[number] and link.kind == "ifb" and link.up
        }

    def is_down(self, link: Link) -> bool:
        """Whether it hands on nothing any more."""
        return not link.up

    def watched(self, number: int) -> Collection[int]:
        """Its own index alone."""
        return {self._made[number]} if number in self._made else ()

    def passed(self, indexes: Sequence[int]) -> list[int | None]:
        """The bytes that have left the root of each: an ifb counts them as received."""
        counts = bytes_at(self._channel, indexes)
        return [None if one is None else one.received for one in counts]
