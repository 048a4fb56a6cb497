# SPDX-License-Identifier: GPL-2.0-or-later
"""Network interfaces: which there are, and word when one comes, goes or changes.

Knows the kernel's announcements of links, qdiscs and filters; does not know which
of them matter to whom.
"""

import asyncio
import contextlib
import os
import select
import socket
import struct
import threading
from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from contextlib import closing
from dataclasses import dataclass
from enum import Enum

from vpngate.errors import KernelRefused
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.attributes import (
    DUMP,
    attribute,
    attributes,
    each_message,
    host_number,
    message,
    picked,
    text,
)
from vpngate.kernel.wire.channel import ROUTE, Channel

_GROUPS = 0x1 | 0x8  # RTMGRP_LINK, RTMGRP_TC
NEW_LINK, _DELETE_LINK, GET_LINK = 16, 17, 18
LINK_HEAD = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, _IFLA_QDISC = 1, 3, 4, 5, 6
IFLA_MASTER, IFLA_LINKMODE, IFLA_LINKINFO = 10, 17, 18
IFLA_TX_QUEUES, IFLA_RX_QUEUES, IFLA_LINK_NETNSID = 31, 32, 37
_IFLA_NEW_NETNSID, _IFLA_NEW_IFINDEX = 45, 49  # of one that moves, since Linux 4.16
_AF_BRIDGE = 7  # of what a bridge says of its ports
IFLA_EXT_MASK, SKIP_STATS = 29, 0x8  # RTEXT_FILTER_SKIP_STATS
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
_AT_ONCE = 500  # questions: the answers fit the receive buffer
UP, NO_ARP, MULTICAST = 0x1, 0x80, 0x1000  # IFF_*
_RECEIVE = 1 << 18


@dataclass(frozen=True, slots=True)
class Link:
    """An interface as it is now.

    parent  index of the interface it stands on (a VLAN's), 0 if none
    master  index of the bridge or bond it is a port of, 0 if none
    kind    what drives it, in words of rtnetlink ("veth"); empty for hardware
    mtu     bytes of its largest packet, without link header
    queue   kind of the queueing discipline at its root
    address its own on the link
    moved   whether it is another namespace's from now on
    """

    index: int
    name: str
    up: bool
    hardware: int  # ARPHRD_*: 1 is Ethernet
    parent: int = 0
    master: int = 0
    kind: str = ""
    mtu: int = 0
    queue: str = ""
    address: bytes = b""
    moved: bool = False


class What(Enum):
    """What an announcement is about."""

    LINK = "link"  # came, or changed in any way
    LINK_GONE = "link gone"
    QDISC = "qdisc"  # at the root: came, went, or took another's place
    FILTER = "filter"  # came, or changed
    FILTER_GONE = "filter gone"
    CLSACT_GONE = "clsact gone"  # where filters stand, with all of them
    CHAIN = "chain"  # of nftables, came to the hook of some interface
    CHAIN_GONE = "chain gone"  # perhaps from there
    UNKNOWN = "unknown"  # announcements were lost: anything may have changed


_OF_LINKS = {NEW_LINK: What.LINK, _DELETE_LINK: What.LINK_GONE}
_OF_FILTERS = {tc.NEW_FILTER: What.FILTER, tc.DELETE_FILTER: What.FILTER_GONE}


@dataclass(frozen=True, slots=True)
class Announcement:
    """Something changed about an interface; `link` for links alone."""

    what: What
    index: int = 0
    link: Link | None = None


def current_links() -> dict[str, Link]:
    """The interfaces of this network namespace, by name."""
    with closing(Channel(ROUTE)) as channel:
        links = map(_read_link, channel.dump(_question(DUMP)))
        return {link.name: link for link in links}


def links_at(channel: Channel, indexes: Iterable[int]) -> list[Link | None]:
    """The interface at each of these indexes, asked for one by one."""
    answers = channel.ask([_question(index=index) for index in indexes])
    return [None if one is None else _read_link(one) for one in answers]


def links_named(channel: Channel, names: Iterable[str]) -> list[Link | None]:
    """The interface of each of these names, asked for one by one.

    As quick beside thousands of others, and also while these come and go.
    """
    answers = channel.ask([_question(name=name) for name in names])
    return [None if one is None else _read_link(one) for one in answers]


@dataclass(frozen=True, slots=True)
class Device:
    """What there is of an interface for rules: its index, and its MTU in bytes."""

    index: int
    mtu: int


def current_devices(names: Collection[str]) -> dict[str, Device]:
    """Those of the names that interfaces have at this moment.

    Also while so many come and go that no list of them can be read.
    """
    if not names:
        return {}
    with closing(Channel(ROUTE)) as channel:
        try:
            found = dict(map(_named, channel.dump(_question(DUMP))))
        except KernelRefused:
            found = _asked_for(channel, names)
    return {name: found[name] for name in names if name in found}


def _asked_for(channel: Channel, names: Collection[str]) -> dict[str, Device]:
    """Does the same with one question for each name."""
    questions = [_question(0, name) for name in names]
    found: dict[str, Device] = {}
    for start in range(0, len(questions), _AT_ONCE):
        answers = channel.ask(questions[start : start + _AT_ONCE])
        found |= dict(_named(answer) for answer in answers if answer is not None)
    return found


def _question(flags: int = 0, name: str = "", index: int = 0) -> bytes:
    body = LINK_HEAD.pack(0, 0, index, 0, 0)
    if name:
        body += attribute(IFLA_IFNAME, name.encode() + b"\0")
    body += attribute(IFLA_EXT_MASK, struct.pack("=I", SKIP_STATS))
    return message(GET_LINK, flags, body)


def _named(answer: bytes) -> tuple[str, Device]:
    _, _, index, _, _ = LINK_HEAD.unpack_from(answer)
    parts = picked(answer, LINK_HEAD.size, IFLA_MTU)
    return text(parts[IFLA_IFNAME]), Device(index, host_number(parts[IFLA_MTU]))


Listener = Callable[[Announcement], None]


class Watcher:
    """A thread that tells its listeners of each announcement, in that thread.

    It is a thread of its own so that a busy event loop delays nobody; one is enough
    for everybody in a network namespace.
    """

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._telling = threading.RLock()
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._socket.bind((0, _GROUPS))
        self._wake, self._woken = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(
            target=self._watch, name="vpngate-links", daemon=True
        )
        self._thread.start()

    def tell(self, listener: Listener) -> None:
        """Call it for each announcement from now on."""
        with self._telling:
            self._listeners.append(listener)

    def leave(self, listener: Listener) -> None:
        """Stop calling it; when this has returned, no call is running any more."""
        with self._telling, contextlib.suppress(ValueError):
            self._listeners.remove(listener)

    def close(self) -> None:
        """Tell nobody any more."""
        os.close(self._woken)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        try:
            while all(ready != self._wake for ready, _ in poll.poll()):
                for announcement in self._receive():
                    self._tell(announcement)
        finally:
            self._socket.close()
            os.close(self._wake)

    def _tell(self, announcement: Announcement) -> None:
        with self._telling:
            for listener in tuple(self._listeners):
                listener(announcement)

    def _receive(self) -> list[Announcement]:
        try:
            return read_announcements(self._socket.recv(_RECEIVE))
        except OSError:  # ENOBUFS: more happened than the socket could hold
            return [Announcement(What.UNKNOWN)]


async def changes(watcher: Watcher) -> AsyncGenerator[None, None]:
    """Yields at once, and again after changes of any link; several may count as one.

    Filters and queueing disciplines of a link are part of it.
    """
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()

    def notice(_: Announcement) -> None:
        loop.call_soon_threadsafe(changed.set)

    watcher.tell(notice)
    try:
        while True:
            changed.clear()
            yield
            await changed.wait()
    finally:
        watcher.leave(notice)


def read_announcements(datagram: bytes) -> list[Announcement]:
    """What a datagram of the kernel's says, as far as it concerns us."""
    read = (_read(kind, body) for kind, _, _, body in each_message(datagram))
    return [each for each in read if each is not None]


def _read(kind: int, body: memoryview) -> Announcement | None:
    if kind in _OF_LINKS and len(body) >= LINK_HEAD.size:
        if body[0] == _AF_BRIDGE:  # a port, which stays when it leaves its bridge
            return None
        link = _read_link(body)
        return Announcement(_OF_LINKS[kind], link.index, link)
    tells = kind in (tc.NEW_QDISC, tc.DELETE_QDISC, *_OF_FILTERS)
    if tells and len(body) >= tc.HEAD.size:
        _, index, _, parent, _ = tc.HEAD.unpack_from(body)
        if kind in _OF_FILTERS:  # one of the root sends no packet anywhere
            at_hook = parent in (tc.CLSACT_INGRESS, tc.CLSACT_EGRESS)
            return Announcement(_OF_FILTERS[kind] if at_hook else What.FILTER, index)
        if parent == tc.ROOT:  # not each class's queue
            return Announcement(What.QDISC, index)
        if (kind, parent) == (tc.DELETE_QDISC, tc.CLSACT):
            return Announcement(What.CLSACT_GONE, index)
    return None


def _read_link(body: bytes | memoryview) -> Link:
    _, hardware, index, flags, _ = LINK_HEAD.unpack_from(body)
    parts = picked(body, LINK_HEAD.size, _IFLA_NEW_IFINDEX)
    parent = host_number(parts.get(IFLA_LINK, b""))
    kind = text(attributes(parts.get(IFLA_LINKINFO, b"")).get(IFLA_INFO_KIND, b""))
    if IFLA_LINK_NETNSID in parts or kind == "veth":
        parent = 0  # the index of another namespace's, or of the other end of a pair
    return Link(
        index,
        text(parts.get(IFLA_IFNAME, b"")),
        bool(flags & UP),
        hardware,
        parent,
        host_number(parts.get(IFLA_MASTER, b"")),
        kind,
        host_number(parts.get(IFLA_MTU, b"")),
        text(parts.get(_IFLA_QDISC, b"")),
        bytes(parts.get(IFLA_ADDRESS, b"")),
        _IFLA_NEW_NETNSID in parts or _IFLA_NEW_IFINDEX in parts,
    )
