# SPDX-License-Identifier: GPL-2.0-or-later
"""A packet that comes in where its source does not live is not even copied.

On the running kernel, packet by packet: the host lives behind gate0, others do not.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace

from tests.lab.plane import RULESET, data_plane
from tests.netns.wire import Wire, build, collect, mouth
from tests.planes import PLANE
from vpngate.capture.live.nflog import NflogCapture
from vpngate.capture.live.ring import RingCapture
from vpngate.config import Plane
from vpngate.daemon.capture_and_plane import open_ring
from vpngate.kernel.bpf_steps import BpfSteps
from vpngate.kernel.live import LiveDataPlane
from vpngate.packets import Endpoint, HookPoint, Transport, parse_address
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset

Capture = NflogCapture | RingCapture
MACS = bytes.fromhex("020000000002020000000001")
INITIATION = b"\x01\0\0\0" + bytes(144)
GENUINE = ("10.77.0.1", "10.77.0.99", "fd77::1", "fe80::1")
FORGED = ("10.88.0.1", "127.0.0.1", "0.0.0.0", "fd88::1", "::1", "10.77.0.2")
RULES = replace(RULESET, interfaces=("gate0",), spared=Intervals.empty())


def frame(source: str, payload: bytes, protocol: int = Transport.UDP) -> bytes:
    """A frame from an address to somebody far away."""
    version = 6 if ":" in source else 4
    to = parse_address("2001:db8::7" if version == 6 else "198.51.100.7")
    body = payload
    if protocol == Transport.UDP:
        body = struct.pack(">4H", 40000, 51820, 8 + len(payload), 0) + payload
    ends = parse_address(source) + to
    if version == 4:
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0)
        return MACS + b"\x08\x00" + head + ends + body
    head = struct.pack(">IHBB", 6 << 28, len(body), protocol, 64)
    return MACS + b"\x86\xdd" + head + ends + body


def capture_of(plane: LiveDataPlane) -> Capture:
    """What is copied: to the group of NFLOG, or into the ring of programs."""
    steps = plane._steps
    if isinstance(steps, BpfSteps):
        return open_ring(steps)
    return NflogCapture(RULES.nflog_group)


def at_the_gate(
    work: Callable[[Wire, LiveDataPlane, Capture], Awaitable[None]],
    rules: Ruleset = RULES,
) -> None:
    async def scenario(wire: Wire) -> None:
        plane = data_plane()
        try:
            await plane.start(rules)
            with capture_of(plane) as capture:
                await work(wire, plane, capture)
        finally:
            await plane.stop()

    with build() as wire:
        wire.gateway.sysctl("net.ipv4.conf.gate0.rp_filter", 0)
        if PLANE is Plane.EBPF:  # the kernel says where an address lives if it forwards
            wire.gateway.sysctl("net.ipv4.ip_forward", 1)
            wire.gateway.sysctl("net.ipv6.conf.all.forwarding", 1)
        wire.gateway.call(lambda: asyncio.run(scenario(wire)))


def sources(capture: Capture, count: int) -> list[Endpoint]:
    return [one.packet.source for one in collect(capture, count)]


def test_forged_sources_are_counted_and_genuine_ones_copied() -> None:
    async def attack(wire: Wire, plane: LiveDataPlane, capture: Capture) -> None:
        with mouth(wire.host, "eth0") as speaking:
            for address in (*FORGED, *GENUINE):
                speaking.send(frame(address, INITIATION))
        copied = {one.address for one in sources(capture, len(GENUINE))}
        assert copied == set(map(parse_address, GENUINE))
        assert (await plane.counters()).reverse_path_failed == len(FORGED)

    at_the_gate(attack)


def test_what_goes_out_has_no_way_back_to_ask_for() -> None:
    async def attack(wire: Wire, plane: LiveDataPlane, capture: Capture) -> None:
        with mouth(wire.gateway, "gate0") as speaking:
            for address in (*FORGED, *GENUINE):
                speaking.send(frame(address, INITIATION))
        copies = collect(capture, len(FORGED + GENUINE))
        assert {one.hook for one in copies} == {HookPoint.EGRESS}
        assert len(copies) == len(FORGED + GENUINE)
        assert (await plane.counters()).reverse_path_failed == 0

    at_the_gate(attack)


def test_forgeries_use_up_no_copies() -> None:
    """A flood of forgeries, of every signature's kind, then one genuine packet."""
    poor = replace(RULES, packets_per_second=1)  # one copy a signature and second

    async def attack(wire: Wire, plane: LiveDataPlane, capture: Capture) -> None:
        esp = struct.pack(">II", 0x1234, 1) + bytes(24)
        with mouth(wire.host, "eth0") as speaking:
            for _ in range(2000):
                speaking.send(frame("10.88.0.1", INITIATION))
                speaking.send(frame("10.88.0.1", esp, Transport.ESP))
            speaking.send(frame("10.77.0.1", INITIATION))
            speaking.send(frame("10.77.0.1", esp, Transport.ESP))
        copied = collect(capture, 2)
        assert {one.packet.source.address for one in copied} == {
            parse_address("10.77.0.1")
        }
        assert {one.packet.transport for one in copied} == {
            Transport.UDP,
            Transport.ESP,
        }
        assert (await plane.counters()).reverse_path_failed == 4000

    at_the_gate(attack, poor)


def test_with_hooks_alone_nobody_asks() -> None:
    async def attack(wire: Wire, plane: LiveDataPlane, capture: Capture) -> None:
        with mouth(wire.host, "eth0") as speaking:
            speaking.send(frame("10.88.0.1", INITIATION))
        assert sources(capture, 1)[0].address == parse_address("10.88.0.1")
        assert (await plane.counters()).reverse_path_failed == 0

    at_the_gate(attack, replace(RULES, reverse_path=False))
