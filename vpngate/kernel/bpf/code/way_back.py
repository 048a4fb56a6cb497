# SPDX-License-Identifier: GPL-2.0-or-later
"""The way of a packet through a shaping pair and back, as parts of programs.

Knows what a packet carries on that way, so that it comes back as it went: `hand_over`
sends it, `returner` stands at the pair's far end, `is_back` tells it where it is met
again. Does not know which packets are slowed, nor what waits at the near end.

The class stands in the packet's priority, which a veth makes 0. So its own priority and
the interface that it was met at are in its timestamp, as one that a packet is to leave
at: the kernel keeps these (Linux 5.18). tc_index tells that it is on that way, and in
which direction; nothing else is taken for such a packet. A packet on its way in has no
timestamp again, since the kernel gives it one then, and its priority, which a veth
makes 0 once more, is in tc_index if it is one of the sixteen that there are names for
(linux/pkt_sched.h); others become 0.
"""

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
_HOST = 0  # PACKET_HOST
_NO_TIME, _TO_LEAVE_AT = 0, 1  # BPF_SKB_TSTAMP_*: none, by CLOCK_MONOTONIC
_WITHOUT_LOW = 0xFFF0  # of tc_index
_NAMED = 15  # TC_PRIO_MAX
_ETHERNET, _TYPE_AT = 14, 12  # bytes


class PairTag(IntEnum):
    """Upper twelve bits of tc_index, by the hook that a packet is taken at."""

    IN = 0x7670
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


def hand_over(code: Assembly, hook: HookPoint, bound: Bound, *, header: bool) -> None:
    """Send the packet that R6 tells of to a pair, and end the program.

    `header` is whether packets of the interface have Ethernet's. Those of others get
    one, which they lose on the way back. What the kernel will not send so is left
    alone: the program goes on behind this, with R6 to R9 as they were. It uses 8 bytes
    at the end of the stack.
    """
    alone = code.fresh()
    if not header:
        _give_header(code, alone)
    code.load(4, R2, R6, Context.INTERFACE).compute("<<", R2, 32)
    code.load(4, R5, R6, Context.PRIORITY).compute("|", R2, R5)
    code.set(R1, R6).set(R3, _TO_LEAVE_AT).call(Helper.SET_TIMESTAMP)
    code.jump("!=", R0, 0, alone)
    way = PairTag.through(hook)
    code.set(R0, way)
    if way is PairTag.IN:
        named = code.fresh()
        code.load(4, R1, R6, Context.PRIORITY).jump("<=", R1, _NAMED, named)
        code.set(R1, 0).label(named).compute("|", R0, R1)
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


def is_back(code: Assembly, hook: HookPoint, otherwise: str) -> None:
    """Let a packet go on that has been through a pair; R6 tells of it.

    To be asked first of all; with any other packet the program goes on at `otherwise`.
    The packet then is as it was before.
    """
    code.load(4, R0, R6, Context.TC_INDEX).jump("==", R0, 0, otherwise)
    code.set(R1, R0).compute("&", R1, _WITHOUT_LOW)
    code.jump("!=", R1, PairTag.through(hook), otherwise)
    if hook is HookPoint.INGRESS:
        code.compute("&", R0, _NAMED).store(4, R6, Context.PRIORITY, R0)
    code.store(4, R6, Context.TC_INDEX, 0).exit(ActionCode.NEXT)


def returner() -> bytes:
    """The program at a pair's far end, on the way in there.

    It keeps nothing and asks nobody, so that what waits is sent on when no daemon is
    left. What was not handed over goes no further: nobody has sent it there.
    """
    code = Assembly()
    code.set(R6, R1).load(4, R7, R6, Context.TC_INDEX)
    # Asked for the type first, the kernel tells the time as it is.
    code.load(1, R0, R6, Context.TIMESTAMP_TYPE).load(8, R8, R6, Context.TIMESTAMP)
    code.jump("!=", R0, _TO_LEAVE_AT, "stray").compute("&", R7, _WITHOUT_LOW)
    code.set(R9, R8).compute(">>", R9, 32)
    code.set(R1, R6).set(R2, 0).set(R3, _NO_TIME).call(Helper.SET_TIMESTAMP)
    code.set(R2, _INGRESS).jump("==", R7, PairTag.IN, "return")
    code.jump("!=", R7, PairTag.OUT, "stray")
    code.store(4, R6, Context.PRIORITY, R8)
    code.set(R1, R6).set(R2, _HOST).call(Helper.CHANGE_TYPE)
    code.set(R2, 0)
    code.label("return").set(R1, R9).call(Helper.REDIRECT).exit()
    return code.label("stray").exit(ActionCode.DROP).assembled()
