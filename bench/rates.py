# SPDX-License-Identifier: GPL-2.0-or-later
"""What passes a class at each rate, whatever its packets look like, and what waits.

    python -m bench.rates [--seconds N] [--longest N]

Run as root; everything happens in network namespaces. By the bytes of the class, as a
share of its rate; and the most that was seen waiting, as time at that rate. Datagrams
of 1,200 bytes, and such joined to 14 kB and 60 kB (UDP_SEGMENT), are offered at three
times the rate or at eight joined ones a queue's time, whichever is more; TCP as it
likes. What a sender cannot offer does not pass: see what waits.
"""

import argparse
import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from tests.lab import joined, topology
from tests.lab.plane import RULESET
from tests.lab.topology import Host, Lab
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.shaping.naming import ifb_name
from vpngate.kernel.shaping.places import class_direction
from vpngate.kernel.shaping.readings import ClassReading, read_classes
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.channel import ROUTE, Channel
from vpngate.kernel.wire.links import current_links
from vpngate.packets import Direction, Endpoint, Transport, parse_address
from vpngate.policy import Throttle

RATES = (512e3, 5e6, 100e6, 1e9)
NEAR, FAR = 40_001, 50_001
SEGMENTS = {"1,200 bytes": 1, "14 kB": 12, "60 kB": 50}
_LOOK = 0.1  # seconds
_WARMING = 1.5


class Load(NamedTuple):
    """What is sent: datagrams of so many segments, or TCP with 0."""

    name: str
    segments: int
    offloads: bool


LOADS = (
    *(Load(name, segments, segments > 1) for name, segments in SEGMENTS.items()),
    Load("TCP, offloads on", 0, offloads=True),
    Load("TCP, offloads off", 0, offloads=False),
)


@contextlib.contextmanager
def tcp(sender: Host, receiver: Host, ports: tuple[int, int]) -> Iterator[None]:
    """A connection that carries what it can."""
    over = threading.Event()
    listener = receiver.namespace.call(
        lambda: socket.create_server((receiver.ipv4, ports[1]), reuse_port=True)
    )

    def receive() -> None:
        with listener, contextlib.suppress(OSError):
            listener.settimeout(30)
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(5)
                while connection.recv(1 << 20):
                    pass

    def send() -> None:
        with contextlib.suppress(OSError), socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            connection.bind((sender.ipv4, ports[0]))
            connection.settimeout(5)
            connection.connect((receiver.ipv4, ports[1]))
            connection.settimeout(0.5)
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    connection.send(bytes(1 << 16))
            connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )

    threads = [
        threading.Thread(target=receive),
        threading.Thread(target=lambda: sender.namespace.call(send)),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def flow(lab: Lab, transport: Transport) -> Throttle:
    near, far = parse_address(lab.client.ipv4), parse_address(lab.stranger.ipv4)
    ends = Endpoint(near, NEAR), Endpoint(far, FAR)
    return Throttle(transport, *ends, near, 600)


async def measured(direction: Direction, seconds: float, rate: float) -> str:
    """Share of the rate that passed, and the longest queue in ms."""
    channel = Channel(ROUTE)
    index = current_links()[ifb_name(RULESET.table)].index
    root = tc.queue_at(channel, index, tc.ROOT)
    assert root is not None

    def look() -> tuple[float, ClassReading]:
        begin = time.monotonic()
        found = read_classes(channel, index, root.major)
        when = (begin + time.monotonic()) / 2
        mine = [one for n, one in found.items() if class_direction(n) is direction]
        return when, max(mine, key=lambda one: one.bytes)

    await asyncio.sleep(_WARMING)
    (first, before), waiting = look(), 0
    last, after = first, before
    while last - first < seconds:
        await asyncio.sleep(_LOOK)
        last, after = look()
        waiting = max(waiting, after.backlog)
    channel.close()
    share = (after.bytes - before.bytes) * 8 / (last - first) / rate
    return f"{share:5.2f} {waiting * 8e3 / rate:4.0f} ms"


@contextlib.contextmanager
def offered(lab: Lab, load: Load, direction: Direction, rate: float) -> Iterator[None]:
    """The load on its way."""
    ends = (lab.client, NEAR), (lab.stranger, FAR)
    (sender, own), (receiver, port) = (
        ends if direction is Direction.UPLOAD else ends[::-1]
    )
    if not load.segments:
        with tcp(sender, receiver, (own, port)):
            yield
        return
    queue_times = 8 * load.segments * joined.SEGMENT * 8 / 0.2
    with joined.sending(
        sender.namespace,
        (sender.ipv4, own),
        (receiver.ipv4, port),
        rate=max(3 * rate, queue_times if load.segments > 1 else 0),
        segments=load.segments,
    ):
        yield


async def table(lab: Lab, rates: list[float], seconds: float, longest: float) -> None:
    for rate in rates:
        plane = LiveDataPlane()
        ruleset = replace(RULESET, rate=int(rate), deadman=3600.0)
        await plane.start(ruleset)
        try:
            await plane.throttle([flow(lab, t) for t in (Transport.UDP, Transport.TCP)])
            await plane.rearm()
            for load in LOADS:
                long = load.segments > 1 and rate == RATES[0]
                wires = [
                    (lab.client.namespace, "eth0"),
                    (lab.gateway, "lan0"),
                    (lab.gateway, "wan1"),
                    (lab.stranger.namespace, "eth0"),
                ]
                joined.offloads(*wires, on=load.offloads)
                found = []
                for direction in Direction:
                    with offered(lab, load, direction, rate):
                        found.append(
                            await measured(
                                direction, longest if long else seconds, rate
                            )
                        )
                print(
                    f"{rate / 1e6:8.3f} Mbit/s  {load.name:18} up {found[0]}  "
                    f"down {found[1]}",
                    flush=True,
                )
        finally:
            await plane.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--longest", type=float, default=60, help="joined, at 512 kbit")
    parser.add_argument("--rates", type=float, nargs="*", default=list(RATES))
    args = parser.parse_args()
    print("share of the rate that passed, and the most that waited")
    with topology.build() as lab:
        work = table(lab, args.rates, args.seconds, args.longest)
        lab.gateway.call(lambda: asyncio.run(work))


if __name__ == "__main__":
    main()
