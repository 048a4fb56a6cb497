# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel counts of interfaces (linux/if_link.h).

Knows where it stands in an answer; does not know what interfaces are for.
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

from vpngate.kernel.wire.attributes import attributes, message
from vpngate.kernel.wire.channel import Channel

_GET_LINK = 18
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
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
        message(_GET_LINK, 0, _LINK.pack(0, 0, index, 0, 0)) for index in indexes
    ]
    return [None if one is None else _counted(one) for one in channel.ask(questions)]


def _counted(answer: bytes) -> ByteCount:
    told = attributes(answer, _LINK.size)[_IFLA_STATS64]
    return ByteCount(*_BYTES.unpack_from(told))
