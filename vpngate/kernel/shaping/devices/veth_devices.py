# SPDX-License-Identifier: GPL-2.0-or-later
"""Pairs of veth as shaping devices, for programs that cannot send to an ifb.

Knows how both ends are made, found and deleted, and that the far one has to be whole,
too; does not know what stands there and sends packets back (`FarEndKeeper`). What is
sent to an ifb by a program comes out in the wrong place, if at all.
"""

import errno
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from pyroute2.netlink.exceptions import NetlinkError

from vpngate.errors import KernelRefused, MachineFault, MissingFeature, Problem
from vpngate.kernel.shaping.devices import pairs
from vpngate.kernel.shaping.devices.naming import (
    ADDRESS,
    FAR_ADDRESS,
    REMEDY,
    far_names,
    near_names,
    objection_to,
)
from vpngate.kernel.shaping.devices.pairs import End
from vpngate.kernel.shaping.devices.steering import steer
from vpngate.kernel.shaping.refusals import lacking
from vpngate.kernel.shaping.route import Route
from vpngate.kernel.wire.channel import Change, Channel
from vpngate.kernel.wire.failures import Failure, in_one_line
from vpngate.kernel.wire.link_details import bytes_at
from vpngate.kernel.wire.links import Link, links_at, links_named
from vpngate.kernel.wire.tc import Queue

_KIND = "veth"
_NO_SUCH_KIND = (errno.EOPNOTSUPP, errno.ENOENT)


class FarEndKeeper(Protocol):
    """What stands at far ends and sends packets back to where they were met."""

    def stand_at(self, index: int) -> None:
        """Have what comes in there sent on, from now on."""
        ...

    def stands_at(self, index: int) -> bool:
        """Whether it does, before anything else."""
        ...


class VethDevices:
    """The pairs of one table: see `ShapingDevices`. Each is known by its near end."""

    def __init__(
        self, table: str, route: Route, channel: Channel, keeper: FarEndKeeper
    ) -> None:
        self.names: Sequence[str] = near_names(table)
        self._far_names = far_names(table)
        self._route = route
        self._channel = channel
        self._keeper = keeper
        self._made: dict[int, tuple[int, int]] = {}  # indexes: near, far

    def there(self) -> list[Link | None]:
        """What has the name of each near end now, whoever's it is."""
        return links_named(self._channel, self.names)

    def make(self, number: int) -> int:
        """Make one anew, its far end up and sending back. The near end's index."""
        name = self.names[number]
        self._make_room(number)
        near, far = End(name, ADDRESS), End(self._far_names[number], FAR_ADDRESS)
        changes = [Change(pairs.new_pair(near, far), name)]
        if failures := self._channel.each(changes):
            raise self._not_made(number, failures[0])
        ends = links_named(self._channel, [near.name, far.name])
        indexes = [end.index for end in ends if end is not None]
        if len(indexes) < len(ends):
            raise KernelRefused(Problem(f"interface {name}", "went as it was made"))
        self._made[number] = (indexes[0], indexes[1])
        try:
            self._keeper.stand_at(indexes[1])
            steer(far.name, indexes[1])  # what nobody may do here is left to udev
            self._put_up(far.name, indexes[1])
        except MachineFault:
            self._delete(indexes[0], name)
            raise
        return indexes[0]

    def is_ours(self, number: int, link: Link) -> bool:
        """Whether what has such a name was made by vpngate."""
        made_here = number in self._made and link.index == self._made[number][0]
        return (made_here and link.kind == _KIND) or not self.objection_to(link, None)

    def objection_to(self, link: Link, root: Queue | None) -> str:
        """Why what has such a name is somebody else's; empty if it is ours."""
        return objection_to(link, root, _KIND)

    def delete(self, link: Link) -> None:
        """Delete one, both ends, with all that waits in it."""
        self._delete(link.index, link.name)

    def whole(self, found: Mapping[int, Link]) -> set[int]:
        """Those with both ends up, and at the far one what sends packets back."""
        near = {
            number: self._made[number][1]
            for number, link in found.items()
            if number in self._made
            and link.name == self.names[number]
            and link.kind == _KIND
            and link.up
        }
        far = zip(near, links_at(self._channel, near.values()), strict=True)
        return {
            number
            for number, link in far
            if link is not None and link.up and self._takes_all(link)
        }

    def is_down(self, link: Link) -> bool:
        """Whether an end hands on nothing; one that is being made does not count."""
        return not link.up and link.mtu != pairs.FAR_MTU_WHILE_MADE

    def watched(self, number: int) -> Collection[int]:
        """The indexes of both ends."""
        return self._made.get(number, ())

    def passed(self, indexes: Sequence[int]) -> list[int | None]:
        """The bytes that have left the root of each near end."""
        counts = bytes_at(self._channel, indexes)
        return [None if one is None else one.sent for one in counts]

    def _takes_all(self, far: Link) -> bool:
        return far.mtu >= pairs.FAR_MTU and self._keeper.stands_at(far.index)

    def _make_room(self, number: int) -> None:
        """Delete what is left of an earlier one; KernelRefused if it is another's.

        Also where somebody has given an end of it another name.
        """
        near, far = self.names[number], self._far_names[number]
        [link] = links_named(self._channel, [near])
        if link is not None and not self.is_ours(number, link):
            where, what = f"interface {near}", self.objection_to(link, None)
            raise KernelRefused(Problem(where, what, REMEDY))
        if link is not None:
            self.delete(link)
        ends = links_named(self._channel, [far])
        ends += links_at(self._channel, self._made.get(number, ()))
        for end in filter(None, ends):
            if end.kind == _KIND and end.address in (ADDRESS, FAR_ADDRESS):
                self.delete(end)

    def _put_up(self, name: str, index: int) -> None:
        changes = [Change(one, f"interface {name}") for one in pairs.put_up(index)]
        if failures := self._channel.each(changes):
            raise KernelRefused(Problem(failures[0].what, str(failures[0])))

    def _not_made(
        self, number: int, failure: Failure
    ) -> KernelRefused | MissingFeature:
        """Which end it is that stands in the way; or there are no pairs at all."""
        if failure.number in _NO_SUCH_KIND:
            return lacking(failure.what, f"cannot be made: {failure}", "veth")
        names = (self.names[number], self._far_names[number])
        taken = [one.name for one in links_named(self._channel, names) if one]
        where = taken[0] if failure.number == errno.EEXIST and taken else names[0]
        what = f"cannot be made: {failure}"
        return KernelRefused(Problem(f"interface {where}", what, REMEDY))

    def _delete(self, index: int, name: str) -> None:
        with in_one_line(f"remove {name}"):
            try:
                self._route.link("del", index=index)
            except NetlinkError as error:
                if error.code != errno.ENODEV:  # somebody else was faster
                    raise
