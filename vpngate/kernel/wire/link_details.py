# SPDX-License-Identifier: GPL-2.0-or-later
"""What an interface was told when it was made, what it stands on, and what it counts.

Knows how it is asked for and where it stands in an answer (linux/if_link.h); does not
know what any option means, or what interfaces are for.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from vpngate.kernel.wire.attributes import (
    DUMP,
    attribute,
    attributes,
    host_number,
    message,
    text,
)
from vpngate.kernel.wire.channel import Channel
from vpngate.kernel.wire.links import (
    GET_LINK,
    IFLA_EXT_MASK,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_LINK,
    IFLA_LINK_NETNSID,
    IFLA_LINKINFO,
    IFLA_MASTER,
    LINK_HEAD,
    SKIP_STATS,
)

_IFLA_QDISC, _IFLA_INFO_SLAVE_DATA = 6, 5
_IFLA_PHYS_SWITCH_ID = 36
_IFLA_XDP, _XDP_GENERIC = 43, 6  # IFLA_XDP_SKB_PROG_ID: a number of a program
_IFLA_STATS64, _BYTES = 23, struct.Struct("=16xQQ")  # rtnl_link_stats64: in, out


class ByteCount(NamedTuple):
    """Bytes that an interface has been handed, and that it has sent."""

    received: int
    sent: int


def bytes_at(channel: Channel, indexes: Iterable[int]) -> list[ByteCount | None]:
    """The bytes that each of these interfaces has counted; None where it is gone.

    An ifb counts what has left its queue as received.
    """
    questions = [
        message(GET_LINK, 0, LINK_HEAD.pack(0, 0, index, 0, 0)) for index in indexes
    ]
    return [None if one is None else _counted(one) for one in channel.ask(questions)]


def _counted(answer: bytes) -> ByteCount:
    told = attributes(answer, LINK_HEAD.size)[_IFLA_STATS64]
    return ByteCount(*_BYTES.unpack_from(told))


@dataclass(frozen=True, slots=True)
class LinkDetails:
    """One interface, as it is now.

    hardware     ARPHRD_*: 1 is Ethernet
    lower        index of the one that it is told to use, 0 if none, or none in sight
    options      by the numbers that its kind has for them (IFLA_INFO_DATA)
    as_port      those that it has as a port of another
    queue        kind of the queueing discipline at its root
    switched     whether hardware forwards between it and others, past the kernel
    generic_xdp  whether a program meets what comes in behind its driver
    """

    index: int
    name: str
    kind: str
    lower: int
    hardware: int
    options: Mapping[int, bytes]
    as_port: Mapping[int, bytes]
    queue: str = ""
    switched: bool = False
    generic_xdp: bool = False


def details_of(channel: Channel, index: int) -> LinkDetails | None:
    """The interface of that index; None if it is gone."""
    [answer] = channel.ask([message(GET_LINK, 0, _body(index))])
    return None if answer is None else read_details(answer)


def ports_of(channel: Channel, index: int) -> list[LinkDetails]:
    """The ports of the bridge or bond of that index."""
    wanted = attribute(IFLA_MASTER, struct.pack("=I", index))
    answers = channel.dump(message(GET_LINK, DUMP, _body(0) + wanted))
    return [read_details(answer) for answer in answers]


def read_details(answer: bytes) -> LinkDetails:
    """The same from the kernel's answer."""
    _, hardware, index, _, _ = LINK_HEAD.unpack_from(answer)
    parts = attributes(answer, LINK_HEAD.size)
    info = attributes(parts.get(IFLA_LINKINFO, b""))
    abroad = IFLA_LINK_NETNSID in parts
    programs = attributes(parts.get(_IFLA_XDP, b""))
    return LinkDetails(
        index,
        text(parts.get(IFLA_IFNAME, b"")),
        text(info.get(IFLA_INFO_KIND, b"")),
        0 if abroad else host_number(parts.get(IFLA_LINK, b"")),
        hardware,
        _options(info.get(IFLA_INFO_DATA, b"")),
        _options(info.get(_IFLA_INFO_SLAVE_DATA, b"")),
        queue=text(parts.get(_IFLA_QDISC, b"")),
        switched=bool(parts.get(_IFLA_PHYS_SWITCH_ID)),
        generic_xdp=host_number(programs.get(_XDP_GENERIC, b"")) != 0,
    )


def _options(nested: bytes | memoryview) -> dict[int, bytes]:
    return {kind: bytes(value) for kind, value in attributes(nested).items()}


def _body(index: int) -> bytes:
    sparing = attribute(IFLA_EXT_MASK, struct.pack("=I", SKIP_STATS))
    return LINK_HEAD.pack(0, 0, index, 0, 0) + sparing
