# SPDX-License-Identifier: GPL-2.0-or-later
"""The data plane of eBPF on the lab's gateway: slowed, spared, copied, gone.

What every data plane promises is tested over both by the other live tests; here is what
this one has of its own.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from tests.lab.attachings import ATTACHINGS, over_each
from tests.lab.namespaces import PATIENCE
from tests.lab.plane import RULESET
from tests.netns.wire import Wire, build
from tests.unit import crafted
from vpngate.daemon.capture_and_plane import open_ring
from vpngate.kernel.bpf_steps import BpfSteps
from vpngate.kernel.live import LiveDataPlane
from vpngate.packets import Direction, Endpoint, HookPoint, Transport, parse_address
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset

pytestmark = over_each

RULES = replace(RULESET, interfaces=("gate0",), reverse_path=True)
HOST, GATEWAY = "10.77.0.1", "10.77.0.2"
PORTS = (40000, 51820)


def flow() -> Throttle:
    return Throttle(
        Transport.UDP,
        Endpoint(parse_address(HOST), PORTS[0]),
        Endpoint(parse_address(GATEWAY), PORTS[1]),
        parse_address(HOST),
        180,
        tunnel="wireguard",
    )


class Running:
    def __init__(self, wire: Wire, plane: LiveDataPlane, steps: BpfSteps) -> None:
        self.wire, self.plane, self.steps = wire, plane, steps

    async def send(self, count: int, size: int = 100, burst: int = 1) -> int:
        """From the host to the gateway; how many arrived.

        One at a time nothing is dropped: what has not come is waited for.
        """
        return await asyncio.to_thread(self._send, count, size, burst)

    def _send(self, count: int, size: int, burst: int) -> int:
        def opened(address: str, port: int) -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind((address, port))
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            made.setblocking(False)
            return made

        there = self.wire.gateway.call(lambda: opened(GATEWAY, PORTS[1]))
        here = self.wire.host.call(lambda: opened(HOST, PORTS[0]))
        arrived = 0
        with there, here:
            for _ in range(count):
                for _ in range(burst):
                    here.sendto(bytes(size), (GATEWAY, PORTS[1]))
                time.sleep(0.002)
            end = time.monotonic() + (PATIENCE if burst == 1 else 0)
            while True:
                time.sleep(0.2)
                with contextlib.suppress(BlockingIOError):
                    while there.recv(9000):
                        arrived += 1
                if arrived >= count * burst or time.monotonic() >= end:
                    return arrived

    async def diverted(self) -> int:
        counters = await self.plane.counters()
        return counters.diverted_packets[Direction.UPLOAD]


def at_the_gateway(
    attaching: str,
    scenario: Callable[[Running], Awaitable[None]],
    rules: Ruleset = RULES,
    lay: Callable[[Wire], object] = lambda _: None,
) -> None:
    """A plane there, armed with nothing; `lay` is done to the wire before."""

    async def whole(wire: Wire) -> None:
        steps = BpfSteps(ATTACHINGS[attaching])
        plane = LiveDataPlane(steps=steps)
        try:
            await plane.start(rules)
            await scenario(Running(wire, plane, steps))
        finally:
            await plane.stop()

    with build() as wire:
        wire.gateway.sysctl("net.ipv4.ip_forward", 1)
        wire.gateway.sysctl("net.ipv6.conf.all.forwarding", 1)
        lay(wire)
        wire.gateway.call(lambda: asyncio.run(whole(wire)))


def test_a_verdict_is_acted_on_only_while_armed_and_nobody_is_spared(
    attaching: str,
) -> None:
    async def scenario(running: Running) -> None:
        plane = running.plane
        await plane.throttle([flow()])
        assert await running.send(5) == 5
        assert await running.diverted() == 0  # not armed yet
        assert await plane.rearm()
        assert await running.send(5) == 5
        assert await running.diverted() == 5
        await plane.disarm()
        assert await running.send(5) == 5
        assert await running.diverted() == 5
        await plane.rearm()
        await plane.protect(Intervals.of_prefixes([f"{HOST}/32"]))
        assert await running.send(5) == 5
        assert await running.diverted() == 5
        await plane.protect(Intervals.empty())
        await plane.throttle([flow()])
        await plane.replace(
            replace(RULES, spared=Intervals.of_prefixes([f"{GATEWAY}/32"]))
        )
        assert await running.send(5) == 5
        counters = await plane.counters()
        assert counters.diverted_packets[Direction.UPLOAD] == 5
        assert counters.traffic_packets[Direction.UPLOAD] >= 25
        assert counters.witness_packets == {"ipv4": 0, "ipv6": 0}
        # Its verdict was ended, so there was nothing to spare it from.
        assert not await plane.slowed()

    at_the_gateway(attaching, scenario)


def test_it_is_slowed_to_its_rate(attaching: str) -> None:
    rules = replace(RULES, rate=1_000_000, deadman=600.0)  # nobody re-arms it here

    async def scenario(running: Running) -> None:
        await running.plane.replace(rules)
        await running.plane.throttle([flow()])
        await running.plane.rearm()
        before = await running.plane.counters()
        began = time.monotonic()
        await running.send(1000, 1200, burst=20)  # some 90 Mbit/s, where there is time
        took = time.monotonic() - began
        after = await running.plane.counters()
        up = Direction.UPLOAD
        passed = after.throttled_bytes[up] - before.throttled_bytes[up]
        assert passed * 8 / took < 1.25 * rules.rate
        assert passed * 8 / took > 0.75 * rules.rate
        assert after.dropped_packets[up] > 0

    at_the_gateway(attaching, scenario)


def test_the_witness_tells_and_throws_the_switch(attaching: str) -> None:
    """Somebody spared is sent to a pair all the same, by a fault that is made here."""

    async def scenario(running: Running) -> None:
        plane, table = running.plane, running.steps.programs
        await plane.throttle([flow()])
        await plane.rearm()
        with open_ring(running.steps) as capture:
            table.parts.few.put(
                1, Intervals.of_prefixes([f"{HOST}/32"])
            )  # what the witness asks
            table._set(8, 0)  # it has settled
            await running.send(5)
            glance = await plane.glance()
            assert glance.witness_packets == 1  # the switch was off behind it
            assert await running.diverted() == 1
            capture.receive()
            assert capture.witnesses == 1

    at_the_gateway(attaching, scenario)


def test_packets_that_wait_can_be_looked_up(attaching: str) -> None:
    async def scenario(running: Running) -> None:
        await running.plane.throttle([flow()])
        await running.plane.rearm()
        running.steps.programs._set(8, 0)
        await running.send(3)
        glance = await running.plane.glance()
        assert (parse_address(HOST), parse_address(GATEWAY)) in glance.waiting

    at_the_gateway(attaching, scenario)


def test_handshakes_are_copied_and_forgeries_are_not(attaching: str) -> None:
    wireguard = next(crafted.undisguised()).up[0]

    async def scenario(running: Running) -> None:
        def say(source: str) -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as speaking:
                speaking.bind((source, 40001))
                speaking.sendto(wireguard, (GATEWAY, 51820))

        wire = running.wire
        wire.host.ip("addr add 192.0.2.7/32 dev eth0")
        with open_ring(running.steps) as capture:
            wire.host.call(lambda: say(HOST))
            wire.host.call(lambda: say("192.0.2.7"))  # which lives elsewhere
            await asyncio.sleep(0.1)
            [copy] = capture.receive()
            assert copy.hook is HookPoint.INGRESS
            assert copy.packet.payload == wireguard
            assert copy.packet.source == Endpoint(parse_address(HOST), 40001)
            counters = await running.plane.counters()
            assert counters.reverse_path_failed == 1
            assert capture.losses == {"gap": 0}

    at_the_gateway(attaching, scenario)


def test_the_first_packets_through_a_new_pair_come_back(attaching: str) -> None:
    """The kernel begins late with a queue; one that it is given it begins with."""

    async def scenario(running: Running) -> None:
        plane = running.plane
        for _ in range(10):
            await plane.replace(replace(RULES, enforce=False))
            await plane.replace(RULES)
            await plane.throttle([flow()])
            await plane.rearm()
            before = await running.diverted()
            assert await running.send(3) == 3
            assert await running.diverted() == before + 3

    at_the_gateway(attaching, scenario)
