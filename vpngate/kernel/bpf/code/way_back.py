# SPDX-License-Identifier: GPL-2.0-or-later
"""The way of a packet through a shaping pair and back, as parts of programs.

Knows what a packet carries on that way, so that it comes back as it went: `hand_over`
sends it, `returner` stands at the pair's far end, `is_back` tells it where it is met
again. Does not know which packets are slowed, nor what waits at the near end.

The class stands in the packet's priority, which a veth makes 0. So the interface that
it was met at is in its timestamp, as one that a packet is to leave at: the kernel
keeps these (Linux 5.18). Beside that is, on the way out, its own priority, and on the
way in whether the kernel has numbered its flow since it was met. tc_index tells that
it is on that way, and in which direction; nothing else is taken for such a packet. A
packet on its way in has no timestamp again, since the kernel gives it one then, and
its priority, which a veth makes 0 once more, is in tc_index if it is one of the
sixteen that there are names for (linux/pkt_sched.h); others become 0. So is whom it
is for: the kernel asks that of the interface's own address, and a bridge or a bond
takes frames for others as well.

To queue by flow (fq_codel), and to choose a processor at the far end (`steering.py`),
the kernel numbers a packet's flow (skb_get_hash). A route of several next hops that
is chosen by ports goes by such a number where there is one, and by another where not:
a flow would change its uplink as it is slowed. So on the way in, where that choice is
still to come, a packet that had no number has none again.

Nothing here stores a number in what tells of a packet, but always a register: kernels
before 6.4 refuse the other.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from vpngate.kernel.bpf.assembly import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    STACK,
    ActionCode,
    Assembly,
    Context,
    Register,
)
from vpngate.kernel.bpf.syscall import Helper
from vpngate.packets import HookPoint

_INGRESS = 1  # BPF_F_INGRESS: as if it had come by the interface
# PACKET_*: for this host, and for another, the last of those that come in
_HOST, _OTHER_HOST = 0, 3
_NO_TIME, _TO_LEAVE_AT = 0, 1  # BPF_SKB_TSTAMP_*: none, by CLOCK_MONOTONIC
TAG_BITS, _BELOW = 0xFFC0, 0x3F  # of tc_index, and what is carried beside a tag
_WHOSE, _WHOSE_AT = 3, 4  # there, of what came in: two bits for its type,
_NAMED = 15  # and four for its priority, up to TC_PRIO_MAX
_ETHERNET, _TYPE_AT = 14, 12  # bytes
_NOTED_AT = -8  # on the stack


class PairTag(IntEnum):
    """Upper ten bits of tc_index, by the hook that a packet is taken at."""

    IN = 0x7640
    OUT = 0x7680

    @classmethod
    def through(cls, hook: HookPoint) -> "PairTag":
        """The one of a hook."""
        return cls.IN if hook is HookPoint.INGRESS else cls.OUT


class Bound(NamedTuple):
    """Registers that tell where a packet waits: any of R7 to R9.

    device        index of the pair's near end
    class_number  the whole number of the class
    """

    device: Register
    class_number: Register


def hand_over(
    code: Assembly,
    hook: HookPoint,
    bound: Bound,
    *,
    header: bool,
    counted: Callable[[Assembly], None] | None = None,
) -> None:
    """Send the packet that R6 tells of to a pair, and end the program.

    `header` is whether packets of the interface have Ethernet's. Those of others get
    one, which they lose on the way back. What the kernel will not send so is left
    alone, as is what has a tc_index of somebody's that cannot be carried along: on the
    way in any, on the way out one of 64 or more. The program goes on behind this then,
    with R6 to R9 as they were. `counted` is what is done with the others; it may use R0
    to R5. This uses 8 bytes at the end of the stack.
    """
    alone, way = code.fresh(), PairTag.through(hook)
    carried = 0 if way is PairTag.IN else _BELOW
    code.load(4, R0, R6, Context.TC_INDEX).jump(">", R0, carried, alone)
    if way is PairTag.IN:
        code.load(4, R0, R6, Context.PACKET_TYPE).jump(">", R0, _OTHER_HOST, alone)
    if not header:
        _give_header(code, alone)
    if way is PairTag.IN:
        _number_flow(code)
    _note_in_timestamp(code, way, alone)
    if counted is not None:
        counted(code)
    code.set(R0, way)
    if way is PairTag.IN:
        _note_what_came_in(code)
    else:
        code.load(4, R1, R6, Context.TC_INDEX).compute("|", R0, R1)
    code.store(4, R6, Context.TC_INDEX, R0)
    code.store(4, R6, Context.PRIORITY, bound.class_number)
    code.set(R1, bound.device).set(R2, 0).call(Helper.REDIRECT).exit()
    code.label(alone)


def _give_header(code: Assembly, alone: str) -> None:
    """Ethernet's header of zeros, but for the type of what follows."""
    code.load(4, R0, R6, Context.PROTOCOL).store(2, STACK, -8, R0)
    code.set(R1, R6).set(R2, _ETHERNET).set(R3, 0).call(Helper.CHANGE_HEAD)
    code.jump("!=", R0, 0, alone)
    code.set(R1, R6).set(R2, _TYPE_AT).set(R3, STACK).compute("+", R3, -8)
    code.set(R4, 2).set(R5, 0).call(Helper.STORE_BYTES)


def _number_flow(code: Assembly) -> None:
    """Have the kernel do so, as it would at the far end; noted: 0 if it had before."""
    code.load(4, R0, R6, Context.FLOW_HASH).store(4, STACK, _NOTED_AT, R0)
    code.set(R1, R6).call(Helper.FLOW_HASH)
    code.load(4, R1, STACK, _NOTED_AT).compute("^", R0, R1)
    code.store(4, STACK, _NOTED_AT, R0)


def _forget_number(code: Assembly, noted: Register) -> None:
    """Unless it had one before."""
    had = code.fresh()
    code.jump("==", noted, 0, had)
    code.set(R1, R6).call(Helper.FORGET_FLOW_HASH).label(had)


def _note_in_timestamp(code: Assembly, way: PairTag, alone: str) -> None:
    """The interface, and what was noted of its flow; on the way out its priority."""
    code.load(4, R2, R6, Context.INTERFACE).compute("<<", R2, 32)
    if way is PairTag.IN:
        code.load(4, R5, STACK, _NOTED_AT)
    else:
        code.load(4, R5, R6, Context.PRIORITY)
    code.compute("|", R2, R5)
    code.set(R1, R6).set(R3, _TO_LEAVE_AT).call(Helper.SET_TIMESTAMP)
    if way is PairTag.OUT:
        code.jump("!=", R0, 0, alone)
        return
    sent = code.fresh()
    code.jump("==", R0, 0, sent).load(4, R0, STACK, _NOTED_AT)
    _forget_number(code, R0)
    code.goto(alone).label(sent)


def _note_what_came_in(code: Assembly) -> None:
    """R0, the tag, gets the packet's type and priority, too."""
    named = code.fresh()
    code.load(4, R1, R6, Context.PACKET_TYPE).compute("&", R1, _WHOSE)
    code.compute("<<", R1, _WHOSE_AT).compute("|", R0, R1)
    code.load(4, R1, R6, Context.PRIORITY).jump("<=", R1, _NAMED, named)
    code.set(R1, 0).label(named).compute("|", R0, R1)


def is_back(code: Assembly, hook: HookPoint, otherwise: str) -> None:
    """Let a packet go on that has been through a pair; R6 tells of it.

    To be asked first of all; with any other packet the program goes on at `otherwise`.
    The packet then is as it was before.
    """
    code.load(4, R0, R6, Context.TC_INDEX).jump("==", R0, 0, otherwise)
    code.set(R1, R0).compute("&", R1, TAG_BITS)
    code.jump("!=", R1, PairTag.through(hook), otherwise)
    if hook is HookPoint.INGRESS:
        code.set(R1, 0).store(4, R6, Context.TC_INDEX, R1)
        code.set(R2, R0).compute(">>", R2, _WHOSE_AT).compute("&", R2, _WHOSE)
        code.compute("&", R0, _NAMED).store(4, R6, Context.PRIORITY, R0)
        code.set(R1, R6).call(Helper.CHANGE_TYPE)
    else:
        code.compute("&", R0, _BELOW).store(4, R6, Context.TC_INDEX, R0)
    code.exit(ActionCode.NEXT)


def returner() -> bytes:
    """The program at a pair's far end, on the way in there.

    It keeps nothing and asks nobody, so that what waits is sent on when no daemon is
    left. What was not handed over goes no further: nobody has sent it there.
    """
    code = Assembly()
    code.set(R6, R1).load(4, R7, R6, Context.TC_INDEX)
    # Asked for the type first, the kernel tells the time as it is.
    code.load(1, R0, R6, Context.TIMESTAMP_TYPE).load(8, R8, R6, Context.TIMESTAMP)
    code.jump("!=", R0, _TO_LEAVE_AT, "stray").compute("&", R7, TAG_BITS)
    code.set(R9, R8).compute(">>", R9, 32)
    code.set(R1, R6).set(R2, 0).set(R3, _NO_TIME).call(Helper.SET_TIMESTAMP)
    code.jump("==", R7, PairTag.IN, "in").jump("!=", R7, PairTag.OUT, "stray")
    code.store(4, R6, Context.PRIORITY, R8)
    code.set(R1, R6).set(R2, _HOST).call(Helper.CHANGE_TYPE)
    code.set(R2, 0).goto("return").label("in").compute("<<", R8, 32)
    _forget_number(code, R8)
    code.set(R2, _INGRESS)
    code.label("return").set(R1, R9).call(Helper.REDIRECT).exit()
    return code.label("stray").exit(ActionCode.DROP).assembled()
