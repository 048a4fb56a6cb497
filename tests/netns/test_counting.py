# SPDX-License-Identifier: GPL-2.0-or-later
"""Counters mean what they say: held against the kernel's own, packet by packet.

    client ── lan0 ─ gateway ─ wan1 ── stranger

A table of the operator's counts everything before vpngate's hooks, and where the
client and the stranger receive, what has arrived. (What leaves an ifb passes egress
chains by, and on a veth the ingress chains of the far end: it is counted behind them.)
Nothing here depends on how fast it goes.
"""

import asyncio
import re
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace

import pytest

from tests import planes
from tests.lab import load, rates
from tests.lab.namespaces import PATIENCE, Namespace
from tests.lab.plane import RULESET, in_gateway
from tests.lab.topology import Lab, Place
from vpngate.kernel.bpf_steps import BpfSteps
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.plane import Counters
from vpngate.packets import Endpoint, Transport, parse_address
from vpngate.policy import Throttle

_PORT = 7777
_IDLE = 3  # seconds without a packet until the verdict ends, and its classes with it
_OFFERED = 4 * rates.RATE
_SECONDS = 1.5
_SIZE, _HEADERS = 1200, 14 + 20 + 8  # bytes: payload; Ethernet, IPv4 and UDP
_COUNTER = re.compile(r"packets (\d+) bytes (\d+)")
_DIRECTIONS = ("upload", "download")

_ARRIVALS = f"""
table inet arrivals {{
    chain seen {{
        type filter hook prerouting priority -300
        udp dport {_PORT} counter
    }}
}}
"""
_EVERYTHING = """
table netdev everything {
    chain upload {
        type filter hook ingress devices = { "lan0", "lan1" } priority -300
        counter
    }
    chain download {
        type filter hook egress devices = { "lan0", "lan1" } priority -300
        counter
    }
}
"""


def _counted(namespace: Namespace, *where: str) -> tuple[int, int]:
    """Packets and bytes of the one counter there; of a program's own, quick to ask."""

    def ask() -> str:
        return subprocess.run(
            ["nft", "list", *where], capture_output=True, text=True, check=True
        ).stdout

    found = _COUNTER.search(namespace.call(ask))
    assert found is not None
    return int(found[1]), int(found[2])


async def _until(
    condition: Callable[[], Awaitable[bool]], patience: float = PATIENCE
) -> None:
    async with asyncio.timeout(patience):
        while not await condition():  # noqa: ASYNC110 - the kernel's doing
            await asyncio.sleep(0.1)


def _flow(lab: Lab) -> Throttle:
    subscriber = parse_address(lab.client.ipv4)
    ends = (subscriber, parse_address(lab.stranger.ipv4))
    near, far = (Endpoint(address, _PORT) for address in ends)
    return Throttle(Transport.UDP, near, far, subscriber, _IDLE)


def _plain(sender: Place, receiver: Place) -> load.Arrivals:
    """A flow that nobody slows."""
    return load.run_stream(sender, receiver, rate=2e6, seconds=0.5)


def _passed(counters: Counters, way: str) -> tuple[int, int, int]:
    return (
        counters.throttled_packets[way],
        counters.throttled_bytes[way],
        counters.dropped_packets[way],
    )


async def _settled(plane: LiveDataPlane, way: str) -> Counters:
    """The counters when nothing waits any more."""

    async def empty() -> bool:
        now = await plane.counters()
        packets, _, dropped = _passed(now, way)
        return now.diverted_packets[way] == packets + dropped

    await _until(empty)
    return await plane.counters()


@pytest.mark.parametrize("way", _DIRECTIONS)
def test_what_was_sent_to_wait_has_passed_or_was_dropped(lab: Lab, way: str) -> None:
    """Also by an ifb that somebody deletes, and by classes that are gone."""
    sender, receiver = (lab.client, lab.stranger)[:: 1 if way == "upload" else -1]
    far = receiver.namespace
    far.run("nft", "-f", "-", stdin=_ARRIVALS)

    def stream() -> load.Arrivals:
        with load.stream(
            *(sender.at(), receiver.at()),
            rate=_OFFERED,
            seconds=_SECONDS,
            size=_SIZE,
            both_ports=_PORT,
        ) as running:
            return running.wait(_SECONDS)

    def arrived() -> int:
        return _counted(far, "table", "inet", "arrivals")[0]

    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(RULESET)
        await plane.rearm()
        await plane.throttle([_flow(lab)])
        await asyncio.to_thread(stream)
        first = await _settled(plane, way)
        packets, octets, dropped = _passed(first, way)
        assert packets == await asyncio.to_thread(arrived)
        assert octets == packets * (_SIZE + _HEADERS)
        assert dropped > packets, "three quarters of it had no room"
        await _until(lambda: _gone(plane))
        assert _passed(await plane.counters(), way) == (packets, octets, dropped)

        await plane.throttle([_flow(lab)])
        await plane.rearm()
        await asyncio.to_thread(stream)
        second = await _settled(plane, way)
        assert _passed(second, way)[0] == await asyncio.to_thread(arrived)
        lab.gateway.run("ip", "link", "delete", planes.DEVICE)
        await _until(lambda: _repaired(plane))
        assert _passed(await plane.counters(), way) == _passed(second, way)

    try:
        in_gateway(lab, scenario)
    finally:
        far.run("nft", "delete", "table", "inet", "arrivals")


async def _gone(plane: LiveDataPlane) -> bool:
    """Whether the verdict has ended and its classes are removed."""

    def classes() -> str:
        return subprocess.run(
            ["tc", "class", "show", "dev", planes.DEVICE],
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    live = (await plane.counters()).throttled_flows["ipv4"]
    return not live and "leaf" not in await asyncio.to_thread(classes)


async def _repaired(plane: LiveDataPlane) -> bool:
    return "ifb" in await plane.verify()


@pytest.mark.parametrize("enforce", [True, False])
def test_all_traffic_is_counted_at_the_hooks(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, *, enforce: bool
) -> None:
    # Programs are not put, or left, where such a chain is known to be.
    monkeypatch.setattr(BpfSteps, "hearing", nullcontext)
    monkeypatch.setattr(BpfSteps, "look_again", lambda _: False)

    def everything() -> list[tuple[int, int]]:
        return [
            _counted(lab.gateway, "chain", "netdev", "everything", way)
            for way in _DIRECTIONS
        ]

    async def difference(plane: LiveDataPlane) -> list[tuple[int, int]]:
        """What the operator has counted and vpngate has not, at a quiet moment."""
        async with asyncio.timeout(PATIENCE):
            while True:
                theirs = await asyncio.to_thread(everything)
                now = await plane.counters()
                if theirs == await asyncio.to_thread(everything):
                    return [
                        (
                            packets - now.traffic_packets[way],
                            octets - now.traffic_bytes[way],
                        )
                        for way, (packets, octets) in zip(
                            _DIRECTIONS, theirs, strict=True
                        )
                    ]

    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(replace(RULESET, enforce=enforce))
        await asyncio.to_thread(lab.gateway.run, "nft", "-f", "-", stdin=_EVERYTHING)
        before, begin = await difference(plane), await plane.counters()
        ends = (lab.client.at(), lab.stranger.at())
        sent = {}
        for way in _DIRECTIONS:
            ways = ends if way == "upload" else ends[::-1]
            sent[way] = await asyncio.to_thread(_plain, *ways)
        assert await difference(plane) == before
        end = await plane.counters()
        for way, stream in sent.items():
            more = end.traffic_packets[way] - begin.traffic_packets[way]
            assert more >= stream.received > 0
            assert end.throttled_packets[way] == 0

    try:
        in_gateway(lab, scenario)
    finally:
        words = ("nft", "delete", "table", "netdev", "everything")
        lab.gateway.run(*words, check=False)
