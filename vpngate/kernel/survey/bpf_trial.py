# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether this kernel does for programs what vpngate asks of it, tried with packets.

Knows one attempt for each thing, made in the namespace of whoever calls; does not know
what it means that one fails. An attempt raises what the kernel says, or `Lost`.
"""

import struct
import time
from contextlib import ExitStack, closing

from vpngate.errors import KernelRefused, Problem
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.assembly import (
    R0,
    R1,
    R2,
    R6,
    R8,
    R9,
    ActionCode,
    Assembly,
    Context,
)
from vpngate.kernel.bpf.code.way_back import Bound, hand_over, is_back
from vpngate.kernel.bpf.far_ends import FarEnds
from vpngate.kernel.bpf.maps import Map, MapLayout, index
from vpngate.kernel.bpf.syscall import AttachPoint, MapKind
from vpngate.kernel.shaping.devices.veth_devices import VethDevices
from vpngate.kernel.shaping.route import Route
from vpngate.kernel.survey.namespace import Arrivals, Wire, datagram
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.channel import ROUTE, Change, Channel
from vpngate.kernel.wire.failures import Rejected
from vpngate.packets import Endpoint, HookPoint

_NAME = "vpngate_trial"
_TABLE = "vg-trial"
_PACKETS = 3
_PATIENCE, _STEP = 1.0, 0.01  # seconds
_IPV4 = 0x0008  # ETH_P_IP, in network order
_CLASS = 0x7667_0010
_COUNTS = struct.Struct("=QQ")  # packets met, and met again
_FRAME = bytes(12) + b"\x08\0" + bytes(46)
_ENDS = Endpoint(bytes((100, 64, 0, 2)), 40001), Endpoint(bytes((198, 51, 100, 10)), 9)
_SIDES = {HookPoint.INGRESS: tc.CLSACT_INGRESS, HookPoint.EGRESS: tc.CLSACT_EGRESS}
_POINTS = {
    HookPoint.INGRESS: AttachPoint.TCX_INGRESS,
    HookPoint.EGRESS: AttachPoint.TCX_EGRESS,
}


class Lost(KernelRefused):
    """Packets did not go where they were to."""


def run_program(_wire: Wire) -> None:
    """Load a program with a map, and run it on a packet."""
    with closing(_counts()) as counts:
        program = programs.load(_counting(counts), _NAME)
        try:
            programs.try_out(program, _FRAME)
        finally:
            programs.close(program)
        _expect(counts, 1, 0, "of 1 packet {} met the program")


def by_clsact(wire: Wire) -> None:
    """Packets both ways meet programs that stand by filters."""
    with closing(Channel(ROUTE)) as channel, _clsact(channel, wire.near):
        for hook in HookPoint:
            with closing(_counts()) as counts:
                _stand(channel, wire.near, hook, _counting(counts))
                _send(wire, hook)
                _expect(counts, _PACKETS, 0, _met(hook))


def by_tcx(wire: Wire) -> None:
    """Packets both ways meet programs that stand by links (Linux 6.6)."""
    for hook, point in _POINTS.items():
        with ExitStack() as stack:
            counts = stack.enter_context(closing(_counts()))
            program = programs.load(_counting(counts), _NAME)
            stack.callback(programs.close, program)
            stack.callback(programs.close, programs.link(program, wire.near, point))
            _send(wire, hook)
            _expect(counts, _PACKETS, 0, _met(hook))


def through_pair(wire: Wire) -> None:
    """What is sent to a shaping pair comes back to where it was met, and goes on."""
    with ExitStack() as stack:
        channel = stack.enter_context(closing(Channel(ROUTE)))
        route = stack.enter_context(closing(Route()))
        keeper = stack.enter_context(closing(FarEnds(channel)))
        pairs = VethDevices(_TABLE, route, channel, keeper)
        device = pairs.make(0)
        stack.callback(_delete, pairs)
        # As the daemon does: with a root of its own a pair takes packets at once. The
        # kernel's comes some time after the end has a carrier; until then all are lost.
        route.tc("add", "htb", device, _CLASS & 0xFFFF0000, parent=tc.ROOT, default=0)
        stack.enter_context(_clsact(channel, wire.near))
        for hook in HookPoint:
            counts = stack.enter_context(closing(_counts()))
            _stand(channel, wire.near, hook, _sending(counts, hook, device))
            inward = hook is HookPoint.INGRESS
            hear = wire.heard_in if inward else wire.heard_out
            heard = stack.enter_context(closing(hear()))
            _send(wire, hook)
            told = "of {2} packets at {3} {0} were sent to a pair and {1} came back"
            told = told.replace("{2}", str(_PACKETS)).replace("{3}", hook.name.lower())
            _expect(counts, _PACKETS, _PACKETS, told)
            _expect_arrivals(heard, hook)


def _counts() -> Map:
    return Map(_NAME, MapLayout(MapKind.ARRAY, 4, _COUNTS.size, 1))


def _counting(counts: Map) -> bytes:
    """What others say on a new interface is not counted: they speak IPv6."""
    code = Assembly().load(4, R0, R1, Context.PROTOCOL).jump("!=", R0, _IPV4, "other")
    _add_one(code, counts, 0)
    return code.label("other").exit(ActionCode.NEXT).assembled()


def _sending(counts: Map, hook: HookPoint, device: int) -> bytes:
    code = Assembly().set(R6, R1).load(4, R0, R6, Context.TC_INDEX)
    code.jump("==", R0, 0, "first time")
    _add_one(code, counts, 8)
    is_back(code.label("first time"), hook, "new")
    code.label("new").load(4, R0, R6, Context.PROTOCOL).jump("!=", R0, _IPV4, "alone")
    _add_one(code, counts, 0)
    code.set(R9, device).set(R8, _CLASS)
    hand_over(code, hook, Bound(device=R9, class_number=R8), header=True)
    return code.label("alone").exit(ActionCode.NEXT).assembled()


def _add_one(code: Assembly, counts: Map, at: int) -> None:
    code.map_value(R1, counts, 0).set(R2, 1).add_at(R1, at, R2)


def _stand(channel: Channel, interface: int, hook: HookPoint, code: bytes) -> None:
    program = programs.load(code, _NAME)
    try:
        stands = tc.Place(interface, 1, _SIDES[hook], 1 << 16)
        change = Change(tc.new_classifier(stands, program, _NAME), "filter")
        if failures := channel.each([change]):
            raise Rejected(failures)
    finally:
        programs.close(program)


def _clsact(channel: Channel, interface: int) -> ExitStack:
    """Have it as long as the stack is open."""
    if failures := channel.each([Change(tc.new_clsact(interface), "clsact")]):
        raise Rejected(failures)
    stack = ExitStack()
    stack.callback(channel.each, [Change(tc.delete_clsact(interface), "clsact")])
    return stack


def _delete(pairs: VethDevices) -> None:
    for link in pairs.there():
        if link is not None:
            pairs.delete(link)


def _send(wire: Wire, hook: HookPoint) -> None:
    send = wire.send_in if hook is HookPoint.INGRESS else wire.send_out
    send([_packet(hook)] * _PACKETS)


def _packet(hook: HookPoint) -> bytes:
    ends = _ENDS if hook is HookPoint.INGRESS else _ENDS[::-1]
    return datagram(*ends, b"trial")


def _expect_arrivals(heard: Arrivals, hook: HookPoint) -> None:
    """Wait until all have gone on as they came; Lost if they do not."""
    deadline = time.monotonic() + _PATIENCE
    while (came := heard.count(_packet(hook))) < _PACKETS:
        if time.monotonic() > deadline:
            told = f"came back from a pair at {hook.name.lower()}, and {came} arrived"
            raise Lost(Problem("eBPF", f"{_PACKETS} packets {told}"))
        time.sleep(_STEP)


def _met(hook: HookPoint) -> str:
    return f"of {_PACKETS} packets at {hook.name.lower()} {{}} met the program"


def _expect(counts: Map, met: int, again: int, told: str) -> None:
    """Wait until they have come; Lost if they do not."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        seen = _COUNTS.unpack(counts.get(index(0)) or bytes(_COUNTS.size))
        if seen[0] >= met and seen[1] >= again:
            return
        if time.monotonic() > deadline:
            raise Lost(Problem("eBPF", told.format(*seen)))
        time.sleep(_STEP)
