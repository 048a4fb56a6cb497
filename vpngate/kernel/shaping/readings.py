# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel says of the classes of an ifb.

Knows how an answer is read; does not know which classes there should be. All classes of
a device are one answer: some hundreds, never those of all devices at once.
"""

import struct
from dataclasses import dataclass

from vpngate.kernel.wire import tc
from vpngate.kernel.wire.attributes import attributes, located
from vpngate.kernel.wire.channel import Channel

_BASIC = struct.Struct("=QI")  # gnet_stats_basic: bytes, packets
_QUEUE = struct.Struct("=4xII")  # gnet_stats_queue: (length), backlog, drops


@dataclass(frozen=True, slots=True)
class ClassReading:
    """What one class has done since it was made, what waits in it, and what it is.

    parameters  struct tc_htb_opt
    leaf        the handle of its queue, 0 for the kernel's own
    """

    parameters: bytes
    leaf: int
    bytes: int
    packets: int
    drops: int
    backlog: int  # bytes


def read_classes(channel: Channel, index: int, major: int) -> dict[int, ClassReading]:
    """The classes of a root's number on a device, by their own (the low 16 bits)."""
    found = {}
    places: dict[int, tuple[int, int, int, int]] = {}  # by length: such are alike
    # Of the root alone: each TBF tells of a class, too.
    for answer in channel.dump(tc.ask(tc.GET_CLASS, index, major << 16)):
        _, _, handle, _, leaf = tc.HEAD.unpack_from(answer)
        if len(answer) not in places:
            places[len(answer)] = _located(answer)
        basic, queue, start, end = places[len(answer)]
        passed, packets = _BASIC.unpack_from(answer, basic)
        backlog, drops = _QUEUE.unpack_from(answer, queue)
        found[handle & 0xFFFF] = ClassReading(
            answer[start:end], leaf, passed, packets, drops, backlog
        )
    return found


def has_queue(
    channel: Channel, index: int, class_id: int, limit: bytes, *, flow_queue: bool
) -> bool:
    """Whether a class has a TBF of that limit, and in it an fq_codel if it should."""
    leaf = tc.queue_at(channel, index, class_id)
    if leaf is None or leaf.kind != "tbf":
        return False
    told = attributes(leaf.options).get(tc.TBF_PARAMETERS, b"")
    if told[tc.TBF_LIMIT_AT : tc.TBF_LIMIT_AT + len(limit)] != limit:
        return False
    inner = tc.queue_at(channel, index, leaf.handle | 1) if flow_queue else None
    return not flow_queue or (inner is not None and inner.kind == "fq_codel")


def _located(answer: bytes) -> tuple[int, int, int, int]:
    """Where an answer has its basic and queue statistics and its parameters."""
    parts = located(answer, tc.HEAD.size)
    inner = located(answer, *parts[tc.STATISTICS])
    options = located(answer, *parts[tc.OPTIONS])
    return (
        inner[tc.STATISTICS_BASIC][0],
        inner[tc.STATISTICS_QUEUE][0],
        *options[tc.HTB_PARAMETERS],
    )
