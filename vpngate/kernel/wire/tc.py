# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic control on rtnetlink (linux/pkt_sched.h, rtnetlink.h), each number once.

Knows how queueing disciplines, classes and filters are addressed, asked for and
listed; does not know which of them are ours.
"""

import errno
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vpngate.kernel.wire.attributes import (
    CREATE,
    DUMP,
    ECHO,
    EXCLUSIVE,
    REPLACE,
    attribute,
    attributes,
    host_number,
    message,
    text,
)
from vpngate.kernel.wire.channel import Channel
from vpngate.kernel.wire.failures import Rejected

# RTM_*
NEW_QDISC, DELETE_QDISC, GET_QDISC = 36, 37, 38
NEW_CLASS, DELETE_CLASS, GET_CLASS = 40, 41, 42
NEW_FILTER, DELETE_FILTER, GET_FILTER = 44, 45, 46

HEAD = struct.Struct("=BxxxiIII")  # tcmsg: family, ifindex, handle, parent, info
KIND, OPTIONS, STATISTICS = 1, 2, 7  # TCA_KIND, TCA_OPTIONS, TCA_STATS2
STATISTICS_BASIC, STATISTICS_QUEUE = 1, 3  # TCA_STATS_*
ACTION_KIND = 1  # TCA_ACT_KIND

# TC_H_*: parents that are no class
ROOT = 0xFFFFFFFF
ANY_ROOT = 0  # as a filter's parent: the queueing discipline at the root
CLSACT_HANDLE = 0xFFFF0000
CLSACT, CLSACT_INGRESS, CLSACT_EGRESS = 0xFFFFFFF1, 0xFFFFFFF2, 0xFFFFFFF3

# TCA_HTB_*, TCA_TBF_*, TC_LINKLAYER_ETHERNET, TCA_FQ_CODEL_*
HTB_PARAMETERS, HTB_RATE64, HTB_CEIL64 = 1, 6, 7
TBF_PARAMETERS, TBF_RATE64, TBF_BURST = 1, 4, 6
TBF_LIMIT_AT = 24  # in struct tc_tbf_qopt, behind two rates
LINK_LAYER_ETHERNET = 1
FQ_CODEL_TARGET, FQ_CODEL_LIMIT, FQ_CODEL_INTERVAL = 1, 2, 3
FQ_CODEL_FLOWS, FQ_CODEL_QUANTUM = 5, 6
FQ_CODEL_DROP_BATCH, FQ_CODEL_MEMORY = 8, 9
# TCA_BPF_*, TCA_BPF_FLAG_ACT_DIRECT, ETH_P_ALL in network order
BPF_PROGRAM, BPF_NAME, BPF_FLAGS, BPF_ID = 6, 7, 8, 11
BPF_DECIDES = 1
EVERY_PROTOCOL = 0x0300
TICK = 64  # nanoseconds of a time in HTB's parameters: PSCHED_SHIFT


class Place(NamedTuple):
    """Where an object of traffic control stands, and under which handle."""

    interface: int
    handle: int = 0
    parent: int = 0
    info: int = 0  # of a filter: preference and protocol


@dataclass(frozen=True, slots=True)
class Queue:
    """A queueing discipline, also clsact and ingress, which queue nothing."""

    interface: int
    kind: str
    handle: int
    parent: int
    options: bytes = b""

    @property
    def major(self) -> int:
        """The half of class ids that is its own."""
        return self.handle >> 16


class Classifier(NamedTuple):
    """A filter of kind bpf; `program` is the kernel's number of its program."""

    preference: int
    handle: int
    program: int
    name: str  # whoever put it there chose it


def packed(kind: int, flags: int, place: Place, body: bytes = b"") -> bytes:
    """A message about what stands at a place."""
    return message(kind, flags, HEAD.pack(0, *place) + body)


def ask(kind: int, interface: int, parent: int = 0) -> bytes:
    """Ask for all objects of a kind on an interface; 0 stands for all interfaces."""
    return packed(kind, DUMP, Place(interface, parent=parent))


def kind_at(channel: Channel, interface: int, parent: int) -> str:
    """What stands at a place: ROOT, or CLSACT, where also the older ingress stands.

    Empty where nothing does. The kernel sends its answer to everybody who listens for
    changes of traffic control. So do not ask for ROOT because of such a message: the
    answer would be the next one.
    """
    found = queue_at(channel, interface, parent)
    return "" if found is None else found.kind


def queue_at(channel: Channel, interface: int, parent: int) -> Queue | None:
    """Returns the whole queueing discipline at a place, also below a class, or None."""
    question = packed(GET_QDISC, ECHO, Place(interface, parent=parent))
    answer = channel.ask_for_one(question)  # of what has gone it says nothing
    return None if answer is None else _queue(answer)


def _queue(answer: bytes) -> Queue:
    _, interface, handle, parent, _ = HEAD.unpack_from(answer)
    parts = attributes(answer, HEAD.size)
    kind, options = (bytes(parts.get(part, b"")) for part in (KIND, OPTIONS))
    return Queue(interface, text(kind), handle, parent, options)


def new_clsact(interface: int) -> bytes:
    """Have a place for filters on the way in and out; refused where there is one."""
    stands = Place(interface, CLSACT_HANDLE, CLSACT)
    return packed(NEW_QDISC, CREATE | EXCLUSIVE, stands, attribute(KIND, b"clsact\0"))


def delete_clsact(interface: int) -> bytes:
    """Have that place no more, nor any filter in it."""
    return packed(DELETE_QDISC, 0, Place(interface, CLSACT_HANDLE, CLSACT))


def interfaces_with_clsact(channel: Channel) -> list[int]:
    """The indexes of those that have it."""
    answers = channel.dump(ask(GET_QDISC, 0))  # each class's queue, too
    there = [one for one in answers if HEAD.unpack_from(one)[3] == CLSACT]
    found = map(_queue, there)
    return [one.interface for one in found if one.kind == "clsact"]


def new_classifier(
    place: Place, descriptor: int, name: str, *, instead: bool = False
) -> bytes:
    """Have a program decide on all packets that pass a side of clsact.

    The preference stands in the upper half of the place's `info`. It stays when the
    descriptor is closed. Refused where there is one; `instead`: it takes the place of
    the one that is there, from one packet to the next, and is refused where none is.
    """
    number = struct.Struct("=I").pack
    options = attribute(BPF_PROGRAM, number(descriptor))
    options += attribute(BPF_NAME, name.encode() + b"\0")
    options += attribute(BPF_FLAGS, number(BPF_DECIDES))
    body = attribute(KIND, b"bpf\0") + attribute(OPTIONS, options, nested=True)
    how = REPLACE if instead else CREATE | EXCLUSIVE
    return packed(NEW_FILTER, how, _of_every_protocol(place), body)


def delete_classifier(place: Place) -> bytes:
    """Delete that one filter of kind bpf."""
    told = _of_every_protocol(place)
    return packed(DELETE_FILTER, 0, told, attribute(KIND, b"bpf\0"))


def classifiers(channel: Channel, places: Sequence[Place]) -> list[Classifier | None]:
    """The filter of kind bpf at each of these places.

    None in a block that interfaces share: it is no place of one interface's.
    """
    kind = attribute(KIND, b"bpf\0")
    questions = [
        packed(GET_FILTER, 0, _of_every_protocol(place), kind) for place in places
    ]
    try:
        answers = channel.ask(questions)
    except Rejected as error:
        if error.number != errno.EOPNOTSUPP:
            raise
        alone = [classifiers(channel, [one]) for one in places if len(places) > 1]
        return [found for [found] in alone] or [None]
    told = [None if one is None else _filter(one) for one in answers]
    return [one if isinstance(one, Classifier) else None for one in told]


def _of_every_protocol(place: Place) -> Place:
    return place._replace(info=place.info | EVERY_PROTOCOL)


def filters_at(channel: Channel, interface: int, side: int) -> list[Classifier | str]:
    """The filters at a side of clsact, first to last; those not of kind bpf by kind.

    None where there is no clsact, or no such interface.
    """
    try:
        answers = channel.dump(ask(GET_FILTER, interface, side))
    except Rejected as error:
        if error.number in (errno.ENODEV, errno.EINVAL):
            return []
        raise
    return [one for answer in answers if (one := _filter(answer)) is not None]


def _filter(answer: bytes) -> Classifier | str | None:
    """Of each kind and preference there is a head without a handle, told as well."""
    _, _, handle, _, info = HEAD.unpack_from(answer)
    parts = attributes(answer, HEAD.size)
    kind = text(parts.get(KIND, b""))
    if not handle or OPTIONS not in parts:
        return None
    if kind != "bpf":
        return kind
    options = attributes(parts[OPTIONS])
    name, program = options.get(BPF_NAME, b""), options.get(BPF_ID, b"")
    return Classifier(info >> 16, handle, host_number(program), text(name))
