# SPDX-License-Identifier: GPL-2.0-or-later
"""How a class and its queue are spelled for the kernel, for a rate.

Knows the options of HTB, TBF and fq_codel (linux/pkt_sched.h), and how much may wait;
does not know devices or sockets.

A class's queue is a TBF that lets pass whatever it is given: all that it is there for
is to split what offloads have joined (GRO, UDP_SEGMENT), since 60 kB never fit a queue
of 200 ms at a low rate. What it has split waits in its own bfifo, or, where the kernel
has it, in an fq_codel, which keeps one flow of a subscriber from filling the queue of
another.
"""

import struct
from dataclasses import dataclass

from vpngate.kernel.wire import tc
from vpngate.kernel.wire.attributes import attribute

# A queue holds at most so much of its rate: more is delay that helps nobody.
_QUEUE_SECONDS = 0.2
_BURST_SECONDS = 0.01
_HEADERS = 22  # bytes: Ethernet's, and two VLAN tags
_MTU = 1500  # the ifb's own: the kernel warns of a TBF whose burst is below it
_QUANTUM_LEAST, _QUANTUM_MOST = (
    1514,
    60_000,
)  # the kernel warns below 1,000, over 200,000
_RATE_MOST = 0xFFFFFFFF  # bytes a second; what is faster has an attribute of its own
_UNSLOWED = 50_000_000_000  # bytes a second: 400 Gbit/s

# fq_codel: a flow is 64 bytes in the kernel, and a subscriber has few tunnels.
_FLOWS = 16
_SMALLEST = 256  # bytes: of smaller packets the queue holds less than its time
# What packets take in memory is half as much again as their bytes, and that is counted.
_MEMORY = 1.5
_TARGET, _INTERVAL = 5_000, 100_000  # microseconds: CoDel's own (RFC 8289, section 4)


@dataclass(frozen=True, slots=True)
class ClassOptions:
    """What the classes of a rate are made of, encoded: kind and options of each.

    parameters  of the class, as the kernel tells them, too
    limit       of its queue, in bytes, likewise
    """

    of_class: bytes
    leaf: bytes
    flow_queue: bytes
    flow_queue_change: bytes  # of one that is there: its flows are as many as they are
    parameters: bytes
    limit: bytes


def largest_packet(mtu: int) -> int:
    """The most bytes, with headers, of a packet that no offload has joined."""
    return max(mtu, _MTU) + _HEADERS


def queue_bytes(rate: int, packet: int) -> int:
    """The most that may wait in a class, for a rate in bit/s."""
    return max(round(rate / 8 * _QUEUE_SECONDS), 2 * packet)


def class_options(rate: int, packet: int) -> ClassOptions:
    """All of it, for a rate in bit/s and packets of at most so many bytes."""
    limit = queue_bytes(rate, packet)
    parameters = _class_parameters(rate, packet)
    return ClassOptions(
        of_class=_of_class(rate, parameters),
        leaf=_leaf(limit, packet),
        flow_queue=_flow_queue(rate, limit, packet, (tc.FQ_CODEL_FLOWS, _FLOWS)),
        flow_queue_change=_flow_queue(rate, limit, packet),
        parameters=parameters,
        limit=struct.pack("=I", limit),
    )


def _specification(bytes_per_second: int) -> bytes:
    """A rate (struct tc_ratespec)."""
    bounded = min(bytes_per_second, _RATE_MOST)
    return struct.pack("=BBHhHI", 0, tc.LINK_LAYER_ETHERNET, 0, 0, 0, bounded)


def _class_parameters(rate: int, packet: int) -> bytes:
    """Struct tc_htb_opt: nobody borrows, so that the ceiling is the rate."""
    bytes_per_second = rate // 8
    burst = max(round(bytes_per_second * _BURST_SECONDS), 2 * packet)
    ticks = round(burst * 1e9 / bytes_per_second / tc.TICK)
    quantum = min(max(bytes_per_second // 10, _QUANTUM_LEAST), _QUANTUM_MOST)
    numbers = struct.pack("=IIIII", ticks, ticks, quantum, 0, 0)
    return _specification(bytes_per_second) * 2 + numbers


def _of_class(rate: int, parameters: bytes) -> bytes:
    options = attribute(tc.HTB_PARAMETERS, parameters)
    if rate // 8 > _RATE_MOST:
        exact = struct.pack("=Q", rate // 8)
        options += attribute(tc.HTB_RATE64, exact) + attribute(tc.HTB_CEIL64, exact)
    return _of_kind(b"htb\0", options)


def _leaf(limit: int, packet: int) -> bytes:
    """TBF (struct tc_tbf_qopt): joined packets larger than the burst are split."""
    rate, none = _specification(_UNSLOWED), _specification(0)
    parameters = rate + none + struct.pack("=III", limit, 0, 0)
    options = attribute(tc.TBF_PARAMETERS, parameters)
    options += attribute(tc.TBF_RATE64, struct.pack("=Q", _UNSLOWED))
    options += attribute(tc.TBF_BURST, struct.pack("=I", packet))
    return _of_kind(b"tbf\0", options)


def _flow_queue(rate: int, limit: int, packet: int, *more: tuple[int, int]) -> bytes:
    """fq_codel; its target must not be below the time of a single packet (RFC 8290)."""
    target = max(_TARGET, round(1.5 * packet * 8e6 / rate))
    options = {
        tc.FQ_CODEL_TARGET: target,
        tc.FQ_CODEL_LIMIT: max(limit // _SMALLEST, 4),
        tc.FQ_CODEL_INTERVAL: max(_INTERVAL, 4 * target),
        tc.FQ_CODEL_QUANTUM: packet,
        tc.FQ_CODEL_DROP_BATCH: 1,  # no half of a short queue at once
        tc.FQ_CODEL_MEMORY: max(round(limit * _MEMORY), 3 * packet),
        **dict(more),
    }
    packed = (attribute(kind, struct.pack("=I", n)) for kind, n in options.items())
    return _of_kind(b"fq_codel\0", b"".join(packed))


def _of_kind(kind: bytes, options: bytes) -> bytes:
    return attribute(tc.KIND, kind) + attribute(tc.OPTIONS, options, nested=True)
