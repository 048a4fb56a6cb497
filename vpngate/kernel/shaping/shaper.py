# SPDX-License-Identifier: GPL-2.0-or-later
"""The shaping devices and their HTB: where throttled packets, and no others, wait.

Knows which devices there should be, their roots, and a class with a bounded queue for
each place and direction; does not know flows or rules, nor of which kind the devices
are (`devices/`). All classes are leaves directly below a root: nobody borrows from
anybody. One device is there from the start, the others are made when a place on them is
needed, and stay.
"""

import errno
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from pyroute2.netlink.exceptions import NetlinkError

from vpngate.errors import KernelRefused, Problem
from vpngate.kernel.shaping.devices.left_behind import remove_left_behind
from vpngate.kernel.shaping.devices.naming import free_majors
from vpngate.kernel.shaping.devices.shaping_devices import ShapingDevices
from vpngate.kernel.shaping.places import ifb_of, minor
from vpngate.kernel.shaping.queueing import class_options, largest_packet
from vpngate.kernel.shaping.readings import ClassReading, has_queue, read_classes
from vpngate.kernel.shaping.refusals import is_there_already, lacking
from vpngate.kernel.shaping.route import Route
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.attributes import CREATE
from vpngate.kernel.wire.channel import Change, Channel
from vpngate.kernel.wire.links import Link, links_at
from vpngate.packets import Direction

_SLOWEST = 512_000  # bit/s, until another rate is set
_TRIAL = 16  # a class that no place has
_UNKNOWN = (errno.ENOENT, errno.EOPNOTSUPP)


class Watchman(Protocol):
    """Who stands at a device as long as packets may be sent there."""

    def stand_at(self, number: int, device: str, major: int) -> None:
        """Look at what is sent to a device that has just been made."""
        ...

    def stands_at(self, number: int) -> bool:
        """Whether it still looks there."""
        ...

    def leave(self, number: int) -> None:
        """Before a device goes, or when what has its name is somebody else's."""
        ...


class Shaper:
    """The devices of one table. One thread alone may use it; `indexes` any."""

    def __init__(
        self,
        devices: ShapingDevices,
        route: Route,
        channel: Channel,
        watchman: Watchman,
    ) -> None:
        # What an announcement of may concern a device that is there.
        self.indexes: frozenset[int] = frozenset()
        self.packet = largest_packet(0)  # bytes
        self.majors: Sequence[int] = ()  # the first half of class ids, of each device
        self._devices = devices
        self._route = route
        self._channel = channel
        self._watchman = watchman
        self._index: dict[int, int] = {}  # of devices that should be there; 0: is not
        self._options = class_options(_SLOWEST, self.packet)
        self._flow_queue = False  # whether the kernel has fq_codel
        self.rate = 0  # each class's, in bit/s

    @property
    def numbers(self) -> list[int]:
        """The devices that should be there."""
        return list(self._index)

    def look_around(self) -> None:
        """Clear away what a dead predecessor left, and choose what nobody else has.

        KernelRefused if somebody else has a device of such a name.
        """
        _, foreign = remove_left_behind(self._devices, self._channel)
        if foreign:
            raise KernelRefused(*foreign)
        self.majors = free_majors(self._channel)

    def begin(self, rate: int, packet: int) -> None:
        """Make the first device; `rate` is each class's, in bit/s.

        `packet` is the size of the largest packet that comes in one piece.
        MissingFeature if the kernel cannot do what is needed.
        """
        self.set(rate, packet)
        self._index.setdefault(0, 0)
        self.build(0)
        self._try_queues()

    def set(self, rate: int, packet: int) -> None:
        """The rate of classes made from now on, in bit/s, and the largest packet."""
        self.rate, self.packet = rate, packet
        self._options = class_options(rate, packet)

    def have(self, numbers: Iterable[int]) -> None:
        """Make these devices, unless they have been made."""
        for number in numbers:
            if number not in self._index:
                self._index[number] = 0
                self.build(number)

    def index_of(self, place: int) -> int:
        """The interface index of the device a place is on; 0 while there is none."""
        return self._index.get(ifb_of(place), 0)

    def build(self, number: int) -> None:
        """Make a device anew; KernelRefused if somebody else has one of its name.

        Nothing is sent there before the witness stands at it. A witness may stand at
        whatever has the name, so it has to leave what is not ours.
        """
        self._withdraw(number)
        name = self._devices.names[number]
        try:
            index = self._devices.make(number)
        except KernelRefused:
            self._watchman.leave(number)
            raise
        try:
            root = self.majors[number] << 16
            self._route.tc("add", "htb", index, root, parent=tc.ROOT, default=0)
        except NetlinkError as error:
            raise lacking(name, f"takes no HTB: {error.args[-1]}", "sch_htb") from error
        self._watchman.stand_at(number, name, self.majors[number])
        self._index[number] = index
        self.indexes |= frozenset(self._devices.watched(number))

    def missing(self) -> list[int]:
        """The devices that are not there, or not up, or have lost their root."""
        at = links_at(self._channel, self._index.values())
        pairs = zip(self._index.items(), at, strict=True)
        found = {n: link for (n, index), link in pairs if index and link is not None}
        whole = self._devices.whole(found)
        return [
            number
            for number in self._index
            if number not in whole
            or found[number].queue != "htb"
            or not self._watchman.stands_at(number)
        ]

    def is_down(self, link: Link) -> bool:
        """Whether what was announced of a device says that packets are lost there."""
        return self._devices.is_down(link)

    def doubt(self, number: int) -> None:
        """Count a device as missing: it has not got what it should have."""
        self._withdraw(number)

    def remove_all(self) -> None:
        """Delete all devices that there may be, with all that waits in them."""
        while self.remove_next():
            pass

    def remove_next(self) -> bool:
        """Delete one of ours; whether there was any. The first one goes last."""
        if not (there := self.there()):
            for number in self.numbers:  # what has their names is somebody else's
                self._withdraw(number)
                self._watchman.leave(number)
            self._index.clear()
            return False
        number, link = max(there.items())
        self._withdraw(number)
        self._watchman.leave(number)
        self._devices.delete(link)
        self._index.pop(number, None)
        return True

    def there(self) -> dict[int, Link]:
        """Those of ours that are there, by number."""
        named = enumerate(self._devices.there())
        ours = self._devices.is_ours
        return {number: link for number, link in named if link and ours(number, link)}

    def add_classes(self, places: Iterable[int], *, anew: bool = True) -> None:
        """Make both classes of places; not `anew`: give them what is in force now."""
        wanted = list(places)
        if not wanted:
            return
        failures = self._channel.each(list(self._additions(wanted, anew=anew)))
        if failures and all(is_there_already(one) for one in failures):
            failures = self._channel.each(list(self._additions(wanted, anew=False)))
        if failures:
            raise KernelRefused(Problem(failures[0].what, str(failures[0])))

    def remove_classes(self, places: Iterable[int]) -> None:
        """Delete classes; those that are gone already are no matter."""
        changes = []
        for place in places:
            for direction in Direction:
                number = self.class_id(place, direction)
                stands = tc.Place(self.index_of(place), number, number & 0xFFFF0000)
                data = tc.packed(tc.DELETE_CLASS, 0, stands)
                changes.append(Change(data, f"class {number:x}"))
        self._channel.each(changes)

    def remove_leaf(self, place: int, direction: Direction) -> None:
        """Delete the queue of a class; the kernel puts one of its own there."""
        number = self.class_id(place, direction)
        stands = tc.Place(self.index_of(place), 0, number)
        self._channel.each([Change(tc.packed(tc.DELETE_QDISC, 0, stands), "queue")])

    def class_id(self, place: int, direction: Direction) -> int:
        """The number of a class, as packets carry it."""
        return self.majors[ifb_of(place)] << 16 | minor(place, direction)

    def read(self, number: int) -> dict[int, ClassReading]:
        """What each class of a device has done, by the low half of its number."""
        index = self._index.get(number)
        if not index:
            return {}
        return read_classes(self._channel, index, self.majors[number])

    def passed(self) -> dict[int, int]:
        """The bytes that have left the queues of each device, by its index."""
        indexes = sorted(index for index in self._index.values() if index)
        told = zip(indexes, self._devices.passed(indexes), strict=True)
        return {index: octets for index, octets in told if octets is not None}

    def is_as_made(self, reading: ClassReading) -> bool:
        """Whether a class is of the rate that it should be."""
        return reading.parameters == self._options.parameters

    def has_its_queue(self, place: int, direction: Direction) -> bool:
        """Whether a class's queue, and what is in that, are what they should be."""
        return has_queue(
            self._channel,
            self.index_of(place),
            self.class_id(place, direction),
            self._options.limit,
            flow_queue=self._flow_queue,
        )

    def _additions(self, places: list[int], *, anew: bool) -> Iterator[Change]:
        """Class and queue of each: to the kernel a change if they exist."""
        for place in places:
            for direction in Direction:
                number = minor(place, direction)
                yield from self._addition(ifb_of(place), number, anew=anew)

    def _addition(self, device: int, number: int, *, anew: bool) -> Iterator[Change]:
        """The queues' handles are the class's own number, and the one behind that."""
        options = self._options
        index, root = self._index.get(device, 0), self.majors[device] << 16
        own, leaf, inner = root | number, number << 16, (number + 1) << 16
        told = f"class {own >> 16:x}:{number:x}"
        for kind, place, body, what in (
            (tc.NEW_CLASS, (own, root), options.of_class, told),
            (tc.NEW_QDISC, (leaf, own), options.leaf, f"queue of {told}"),
        ):
            yield Change(tc.packed(kind, CREATE, tc.Place(index, *place), body), what)
        if self._flow_queue:
            body = options.flow_queue if anew else options.flow_queue_change
            stands = tc.Place(index, inner, leaf | 1)
            data = tc.packed(tc.NEW_QDISC, CREATE, stands, body)
            yield Change(data, f"flow queue of {told}")

    def _try_queues(self) -> None:
        """Learn what queues the kernel has, by a class that nobody needs."""
        self._flow_queue = True
        failures = self._channel.each(list(self._addition(0, _TRIAL, anew=True)))
        name, root = self._devices.names[0], self.majors[0] << 16
        stands = tc.Place(self._index[0], root | _TRIAL, root)
        self._channel.each([Change(tc.packed(tc.DELETE_CLASS, 0, stands), "trial")])
        for one in failures:
            if one.number not in _UNKNOWN or one.what.startswith("class"):
                raise KernelRefused(Problem(one.what, str(one)))
            if one.what.startswith("queue"):
                raise lacking(name, f"takes no TBF: {one}", "sch_tbf")
        self._flow_queue = not failures

    def _withdraw(self, number: int) -> None:
        """Know a device no more: what becomes of it is no news."""
        if number in self._index:
            self.indexes -= frozenset(self._devices.watched(number))
            self._index[number] = 0
