# SPDX-License-Identifier: GPL-2.0-or-later
"""A verdict lives while its packets come, ends when they stay away, and follows nobody.

Idle times are short here: on this kernel an element keeps its own, so a verdict of
three seconds lives three seconds from its last packet.
"""

import asyncio
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests import planes
from tests.lab import load, rates, wireguard
from tests.lab.daemon import daemon, enforcing_settings
from tests.lab.namespaces import PATIENCE
from tests.lab.plane import RULESET, in_gateway
from tests.lab.rates import Way
from tests.lab.topology import Lab
from vpngate.kernel.live import LiveDataPlane
from vpngate.packets import Endpoint, Transport, parse_address
from vpngate.policy import Throttle

_PORT = 7777
_IDLE = 3  # seconds: more than lies between the streams on a busy machine
_TRICKLE = 100_000.0  # bit/s: ten packets a second
_OFFERED = 3 * rates.RATE
_SLOW = 0.5  # of what is offered a third arrives, and what the queue holds


def _flow(lab: Lab) -> Throttle:
    subscriber = parse_address(lab.client.ipv4)
    remote = parse_address(lab.stranger.ipv4)
    return Throttle(
        Transport.UDP,
        Endpoint(subscriber, _PORT),
        Endpoint(remote, _PORT),
        subscriber,
        _IDLE,
    )


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - other programs
            await asyncio.sleep(0.1)


def _classes() -> int:
    """The leaf classes on the ifb: two a bucket."""
    shown = subprocess.run(
        ["tc", "class", "show", "dev", planes.DEVICE],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return shown.count("leaf")


@pytest.mark.parametrize("way", ["upload", "download"])
def test_a_verdict_lives_while_packets_come_and_ends_when_they_stop(
    lab: Lab, way: str
) -> None:
    ends = (lab.client.at(), lab.stranger.at())
    sender, receiver = ends if way == "upload" else ends[::-1]

    def stream(rate: float, seconds: float) -> load.Arrivals:
        with load.stream(
            sender, receiver, rate=rate, seconds=seconds, both_ports=_PORT
        ) as running:
            return running.wait(seconds)

    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(RULESET)
        await plane.rearm()
        await plane.throttle([_flow(lab)])
        assert _classes() == 2
        await asyncio.to_thread(stream, _TRICKLE, 2.5 * _IDLE)
        slow = await asyncio.to_thread(stream, _OFFERED, 1.0)
        counters = await plane.counters()
        assert counters.throttled_flows["ipv4"] == 1
        assert counters.throttled_packets[way] > 0
        assert slow.share < _SLOW
        await _until(lambda: _classes() == 0)
        assert (await plane.counters()).throttled_flows["ipv4"] == 0
        before = (await plane.counters()).throttled_packets
        free = await asyncio.to_thread(stream, _OFFERED, 1.0)
        assert free.lost == 0
        assert (await plane.counters()).throttled_packets == before

    in_gateway(lab, scenario)


def test_what_is_no_first_fragment_is_untouched_whatever_it_begins_with(
    lab: Lab,
) -> None:
    """Another datagram between the same two hosts, cut where its bytes look like ports.

    Linux 6.18 takes them for ports at ingress.
    """
    ports = struct.pack("!HH", _PORT, _PORT)

    def send(*, fragment: int, count: int) -> None:
        ends = parse_address(lab.client.ipv4) + parse_address(lab.stranger.ipv4)
        body = ports + bytes(60)
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            for number in range(count):
                head = struct.pack(
                    *("!BBHHHBBH", 0x45, 0, 20 + len(body), number, fragment),
                    *(64, socket.IPPROTO_UDP, 0),
                )
                raw.sendto(head + ends + body, (lab.stranger.ipv4, 0))

    async def sent(plane: LiveDataPlane, *, fragment: int, count: int) -> int:
        """How many packets were slowed once all of them had passed the hook."""
        before = (await plane.counters()).traffic_packets["upload"]
        slowed = (await plane.counters()).throttled_packets["upload"]
        client = lab.client.namespace
        await asyncio.to_thread(
            client.call, lambda: send(fragment=fragment, count=count)
        )
        async with asyncio.timeout(PATIENCE):
            while (await plane.counters()).traffic_packets["upload"] < before + count:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await asyncio.sleep(0.3)  # on the ifb, if there
        return (await plane.counters()).throttled_packets["upload"] - slowed

    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(RULESET)
        await plane.rearm()
        await plane.throttle([replace(_flow(lab), idle=600)])
        assert await sent(plane, fragment=0, count=5) == 5
        assert await sent(plane, fragment=100, count=5) == 0
        assert await sent(plane, fragment=0x2000 | 100, count=5) == 0

    in_gateway(lab, scenario)


def test_a_tunnel_that_roams_is_left_alone_until_it_shakes_hands_again(
    lab: Lab,
) -> None:
    """A verdict covers one pair of ports; what goes on elsewhere is another flow."""
    with (
        daemon(lab.gateway, enforcing_settings(lab, "roaming")) as running,
        wireguard.tunnel(lab.client, lab.stranger) as tunnel,
        wireguard.tunnel(lab.member, lab.stranger) as control,
    ):
        flow = Way(tunnel.client, tunnel.server)

        def rate() -> float:
            with load.stream(*flow, rate=_OFFERED) as stream:
                time.sleep(1.0)
                begin = time.monotonic()
                time.sleep(1.5)
                end = time.monotonic()
                return stream.stop().rate_between(begin, end)

        running.wait_until(
            lambda: running.metric("vpngate_throttled_flows") == 1, "the verdict"
        )
        slow = rate()
        tunnel.client.namespace.run(
            *("wg", "set", tunnel.device, "listen-port", "45678")
        )
        free = rates.beside(lab, flow, Way(control.client, control.server))
        tunnel.shake_hands()
        running.wait_for_flow("wireguard", "throttle", 2)
        slow_again = rate()
    assert slow < 1.2 * rates.RATE
    assert free.faults == []
    assert slow_again < 1.2 * rates.RATE
