# SPDX-License-Identifier: GPL-2.0-or-later
"""The ifb and its HTB: where throttled packets, and no others, wait.

Knows the device, its root, and a class with a bounded queue for each bucket and
direction; does not know flows or rules. All classes are leaves directly below the
root: nobody borrows from anybody.
"""

import errno
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from vpngate.errors import KernelRefused, MissingFeature, Problem
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.attributes import CREATE, attribute, located
from vpngate.kernel.wire.channel import Change, Channel, Failure

_NAME_LENGTH = 15  # IFNAMSIZ without the terminator
# A queue holds at most so much of its rate: more is delay that helps nobody.
_QUEUE_SECONDS = 0.2
_BURST_SECONDS = 0.01
_PACKET = 1514  # bytes: the most an Ethernet link hands over at once, unsegmented
_QUANTUM_MOST = 60_000  # the kernel warns above 200,000 and below 1,000

_BASIC = struct.Struct("=QI")  # gnet_stats_basic: bytes, packets
_QUEUE = struct.Struct("=4xII")  # gnet_stats_queue: (length), backlog, drops
_RATE_MOST = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class ClassStatistics:
    """What one class has done since it was made, and what waits in it now."""

    bytes: int
    packets: int
    drops: int
    backlog: int  # bytes


def ifb_name(table: str) -> str:
    """The ifb's name: the table's where it fits an interface name."""
    name = f"ifb-{table}"
    if len(name) <= _NAME_LENGTH:
        return name
    return "ifb-" + blake2b(table.encode(), digest_size=5).hexdigest()


class Shaper:
    """The ifb of one table. One thread alone may use it."""

    def __init__(self, table: str, route: IPRoute, channel: Channel) -> None:
        self.name = ifb_name(table)
        self.index = 0
        self.major = 0  # the first half of class ids; whoever builds chooses it
        self._route = route
        self._channel = channel
        self._leaf = b""  # encoded once: kind and options of a leaf's queue
        self._parameters = b""
        self._flow_queue = True  # until the kernel says that it has no fq_codel
        self._rate = 0

    def build(self, rate: int) -> None:
        """Make the device anew; what a dead predecessor left is cleared away.

        `rate` is each class's, in bit/s.
        """
        self.remove()
        self.set_rate(rate)
        try:
            self._route.link("add", ifname=self.name, kind="ifb")
            self.index = self._route.link_lookup(ifname=self.name)[0]
            self._route.link("set", index=self.index, state="up")
        except NetlinkError as error:
            raise MissingFeature(
                Problem(
                    f"interface {self.name}",
                    f"cannot be made: {error.args[-1]}",
                    "vpngate needs the kernel module ifb",
                )
            ) from error
        try:
            self._route.tc(
                "add", "htb", self.index, self.major << 16, parent=tc.ROOT, default=0
            )
        except NetlinkError as error:
            raise MissingFeature(
                Problem(
                    f"interface {self.name}",
                    f"takes no HTB: {error.args[-1]}",
                    "vpngate needs the kernel module sch_htb",
                )
            ) from error

    def remove(self) -> None:
        """Delete the device with all that waits in it, if there is one."""
        found = self._route.link_lookup(ifname=self.name)
        if found and self._is_ours(found[0]):
            self._route.link("del", index=found[0])
        self.index = 0

    def exists(self) -> bool:
        """Whether device and root are there, and up."""
        if not self.index:
            return False
        try:
            link = self._route.get_links(self.index)[0]
        except NetlinkError:
            return False
        return (
            link.get("ifname") == self.name
            and bool(link["flags"] & 1)
            and self._has_root()
        )

    def set_rate(self, rate: int) -> None:
        """The rate of classes made from now on, in bit/s."""
        self._rate = rate
        self._parameters = _class_options(rate)
        self._leaf = _leaf_options(rate, flow_queue=self._flow_queue)

    def add_classes(self, minors: Iterable[int]) -> None:
        """Make classes, or give those that are there the present rate."""
        wanted = list(minors)
        if not wanted:
            return
        failures = self._channel.each(list(self._additions(wanted)))
        if self._flow_queue and _unknown_queue(failures):
            self._flow_queue = False
            self.set_rate(self._rate)
            failures = self._channel.each(list(self._additions(wanted)))
        if failures:
            raise KernelRefused(Problem(failures[0].what, str(failures[0])))

    def remove_classes(self, minors: Iterable[int]) -> None:
        """Delete classes; those that are gone already are no matter."""
        self._channel.each(
            [self._of_class(minor, tc.DELETE_CLASS, 0) for minor in minors]
        )

    def statistics(self) -> dict[int, ClassStatistics]:
        """What each class has done, by minor number."""
        if not self.index:
            return {}
        found = {}
        places: dict[int, tuple[int, int]] = {}  # by length: all answers are alike
        for answer in self._channel.dump(tc.ask(tc.GET_CLASS, self.index)):
            _, _, handle, _, _ = tc.HEAD.unpack_from(answer)
            if handle >> 16 != self.major:
                continue
            if len(answer) not in places:
                places[len(answer)] = _statistics_at(answer)
            basic, queue = places[len(answer)]
            passed, packets = _BASIC.unpack_from(answer, basic)
            backlog, drops = _QUEUE.unpack_from(answer, queue)
            found[handle & 0xFFFF] = ClassStatistics(passed, packets, drops, backlog)
        return found

    def _additions(self, minors: list[int]) -> Iterator[Change]:
        """Class and queue of each: to the kernel a change if they exist."""
        for minor in minors:
            yield self._of_class(minor, tc.NEW_CLASS, CREATE, self._parameters)
            own = self.major << 16 | minor
            place = tc.Place(self.index, minor << 16, own)  # its handle: its class's
            data = tc.packed(tc.NEW_QDISC, CREATE, place, self._leaf)
            yield Change(data, f"queue of class {self.major:x}:{minor:x}")

    def _of_class(self, minor: int, kind: int, flags: int, body: bytes = b"") -> Change:
        root = self.major << 16
        place = tc.Place(self.index, root | minor, root)
        data = tc.packed(kind, flags, place, body)
        return Change(data, f"class {self.major:x}:{minor:x}")

    def _has_root(self) -> bool:
        return any(
            qdisc["parent"] == tc.ROOT and qdisc["handle"] == self.major << 16
            for qdisc in self._route.get_qdiscs(self.index)
        )

    def _is_ours(self, index: int) -> bool:
        link: Any = self._route.get_links(index)[0]
        information = link.get_attr("IFLA_LINKINFO")
        kind = information.get_attr("IFLA_INFO_KIND") if information else None
        if kind != "ifb":
            raise KernelRefused(
                Problem(
                    f"interface {self.name}",
                    "exists and is not an ifb",
                    "rename it, or choose another gateway.table",
                )
            )
        return True


def _unknown_queue(failures: Sequence[Failure]) -> bool:
    """Whether it is the queue's kind that the kernel does not know."""
    return bool(failures) and all(
        failure.what.startswith("queue")
        and failure.number in (errno.ENOENT, errno.EOPNOTSUPP)
        for failure in failures
    )


def _statistics_at(answer: bytes) -> tuple[int, int]:
    """Where the basic and the queue statistics begin in an answer about a class."""
    start, end = located(answer, tc.HEAD.size)[tc.STATISTICS]
    inner = located(answer, start, end)
    return inner[tc.STATISTICS_BASIC][0], inner[tc.STATISTICS_QUEUE][0]


def free_major(route: IPRoute) -> int:
    """A number that no qdisc of this machine has: class ids travel in packets."""
    taken = {qdisc["handle"] >> 16 for qdisc in route.get_qdiscs()}
    preferred = 0x7667  # "vg"
    return next(m for m in range(preferred, 0x7FFF) if m not in taken)


def queue_bytes(rate: int) -> int:
    """The most that may wait in a class, for a rate in bit/s."""
    return max(round(rate / 8 * _QUEUE_SECONDS), 2 * _PACKET)


def _class_options(rate: int) -> bytes:
    """Kind and options of a class (struct tc_htb_opt)."""
    bytes_per_second = rate // 8
    burst = max(round(bytes_per_second * _BURST_SECONDS), 2 * _PACKET)
    ticks = round(burst * 1e9 / bytes_per_second / tc.TICK)
    quantum = min(max(bytes_per_second // 10, _PACKET), _QUANTUM_MOST)
    bounded = min(bytes_per_second, _RATE_MOST)
    specification = struct.pack("=BBHhHI", 0, tc.LINK_LAYER_ETHERNET, 0, 0, 0, bounded)
    parameters = specification * 2 + struct.pack("=IIIII", ticks, ticks, quantum, 0, 0)
    options = attribute(tc.HTB_PARAMETERS, parameters)
    if bytes_per_second > _RATE_MOST:
        exact = struct.pack("=Q", bytes_per_second)
        options += attribute(tc.HTB_RATE64, exact) + attribute(tc.HTB_CEIL64, exact)
    return attribute(tc.KIND, b"htb\0") + attribute(tc.OPTIONS, options, nested=True)


def _leaf_options(rate: int, *, flow_queue: bool) -> bytes:
    """Kind and options of a class's queue.

    fq_codel, where the kernel has it, keeps one flow of a subscriber from filling
    the queue of another; its limit is in packets. bfifo counts bytes.
    """
    limit = queue_bytes(rate)
    if not flow_queue:
        options = struct.pack("=I", limit)
        return attribute(tc.KIND, b"bfifo\0") + attribute(tc.OPTIONS, options)
    packets = attribute(tc.FQ_CODEL_LIMIT, struct.pack("=I", max(limit // _PACKET, 2)))
    return attribute(tc.KIND, b"fq_codel\0") + attribute(
        tc.OPTIONS, packets, nested=True
    )
