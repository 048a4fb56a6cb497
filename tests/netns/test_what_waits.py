# SPDX-License-Identifier: GPL-2.0-or-later
"""What a class makes of its packets: joined ones pass, and none is treated apart.

Each beside a control that is sent at the same time, and counted in the kernel.
"""

import asyncio
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab import joined
from tests.lab.plane import RULESET, in_gateway
from tests.lab.topology import Host, Lab
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.shaping.places import class_direction
from vpngate.kernel.shaping.readings import ClassReading
from vpngate.packets import Direction, Endpoint, Transport, parse_address
from vpngate.policy import Throttle

pytestmark = pytest.mark.netns

SLOW, SHIPPED = 512_000, 5_000_000  # bit/s
BURST = 40  # packets
QUEUE = 0.25  # seconds
PLAIN, SLOWED, BESIDE = 50_001, 50_002, 50_003
# As an operator's: 20 Mbit/s, and bands by the packet's priority.
_BANDS = (
    "root handle 1: tbf rate 20mbit burst 5k limit 60k",
    "parent 1:1 handle 2: pfifo_fast",
)
_COUNT = """
table inet arrived {{
    counter c{0} {{ }}
    counter c{1} {{ }}
    chain input {{
        type filter hook input priority 0
        udp dport {0} counter name c{0}
        udp dport {1} counter name c{1}
    }}
}}
"""


def flow(host: Host, far: Host, port: int) -> Throttle:
    near, remote = parse_address(host.ipv4), parse_address(far.ipv4)
    ends = Endpoint(near, port), Endpoint(remote, port)
    return Throttle(Transport.UDP, *ends, near, 600)


async def uploads(plane: LiveDataPlane) -> list[ClassReading]:
    """The classes of uploads, in the order in which they came into use."""
    found = await plane._do(plane._steps.shaper.read, 0)
    upload = (n for n in sorted(found) if class_direction(n) is Direction.UPLOAD)
    return [found[number] for number in upload]


def test_joined_packets_pass_at_a_low_rate_as_others_do(lab: Lab) -> None:
    """60 kB are five times what the queue takes: unsplit, none would pass."""
    hosts = {lab.client: 50, lab.neighbour: 1}

    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(replace(RULESET, rate=SLOW, deadman=600.0))
        for host in hosts:
            await plane.throttle([flow(host, lab.stranger, PLAIN)])
        await plane.rearm()
        with ExitStack() as stack:
            for host, segments in hosts.items():
                source, target = (host.ipv4, PLAIN), (lab.stranger.ipv4, PLAIN)
                sending = joined.sending(
                    host.namespace, source, target, rate=10 * SLOW, segments=segments
                )
                stack.enter_context(sending)
            await asyncio.sleep(2)
            before, looks = await uploads(plane), []
            begin = time.monotonic()
            while time.monotonic() - begin < 6:
                await asyncio.sleep(0.2)
                looks.append(await uploads(plane))
        split, control = (
            now.bytes - then.bytes for now, then in zip(looks[-1], before, strict=True)
        )
        assert split > 0.75 * control > 0
        waited = max(one.backlog for look in looks for one in look)
        assert waited <= QUEUE * SLOW / 8

    wire = (lab.client.namespace, "eth0"), (lab.gateway, "lan0")
    joined.offloads(*wire, on=True)
    try:
        in_gateway(lab, scenario)
    finally:
        joined.offloads(*wire, on=False)


def numbered(lab: Lab, seconds: float) -> list[int]:
    """Datagrams of 1,200 bytes, faster than they may pass: the numbers that came."""

    def bound(host: Host) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        made.bind((host.ipv4, PLAIN))
        made.settimeout(1)
        return made

    sender, receiver = lab.client, lab.stranger
    here = sender.namespace.call(lambda: bound(sender))
    there = receiver.namespace.call(lambda: bound(receiver))
    numbers, sent, end = list[int](), 0, time.monotonic() + seconds
    with here, there:
        while time.monotonic() < end:
            for _ in range(BURST):
                data = sent.to_bytes(4, "big") + bytes(1196)
                here.sendto(data, (receiver.ipv4, PLAIN))
                sent += 1
            time.sleep(0.03)
        with suppress(TimeoutError):
            while True:
                numbers.append(int.from_bytes(there.recv(2000)[:4], "big"))
    return numbers


def test_a_slowed_flow_keeps_its_order_at_the_rate_as_shipped(lab: Lab) -> None:
    """Of one sender, with packets of ordinary size that wait all the time."""

    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(replace(RULESET, rate=SHIPPED, deadman=600.0))
        await plane.throttle([flow(lab.client, lab.stranger, PLAIN)])
        await plane.rearm()
        sending = asyncio.create_task(asyncio.to_thread(numbered, lab, 5))
        waited = 0
        while not sending.done():
            await asyncio.sleep(0.2)
            (upload,) = await uploads(plane)
            waited = max(waited, upload.backlog)
        numbers = await sending
        assert waited > 10 * 1200
        (upload,) = await uploads(plane)
        assert upload.packets >= len(numbers) > 10 * BURST
        assert numbers == sorted(set(numbers))

    in_gateway(lab, scenario)


def test_a_slowed_flow_is_in_nobody_elses_band(lab: Lab) -> None:
    """On a full interface it has the share that a plain flow of its rate has.

    Downloads: what goes up over IPv4 is given a new priority as it is routed.
    """
    near, far = lab.client, lab.stranger

    def arrived() -> list[int]:
        listed = near.namespace.run(
            "nft", "-j", "list", "counters", "table", "inet", "arrived"
        )
        counts = {
            one["counter"]["name"]: one["counter"]["packets"]
            for one in json.loads(listed)["nftables"]
            if "counter" in one
        }
        return [counts[f"c{port}"] for port in (SLOWED, BESIDE)]

    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(replace(RULESET, deadman=600.0))
        await plane.throttle([flow(near, far, SLOWED)])
        await plane.rearm()
        with ExitStack() as stack:
            for host, port, rate in (
                (lab.member, PLAIN, 40e6),
                (far, SLOWED, 3 * RULESET.rate),
                (far, BESIDE, RULESET.rate),
            ):
                ends = (host.ipv4, port), (near.ipv4, port)
                stack.enter_context(joined.sending(host.namespace, *ends, rate=rate))
            await asyncio.sleep(1)
            before = await asyncio.to_thread(arrived)
            await asyncio.sleep(6)
            after = await asyncio.to_thread(arrived)
        slowed, beside = (now - then for now, then in zip(after, before, strict=True))
        assert 0.6 * beside < slowed < 1.6 * beside, (slowed, beside)

    near.namespace.run("nft", "-f", "-", stdin=_COUNT.format(SLOWED, BESIDE))
    for line in _BANDS:
        lab.gateway.run("tc", "qdisc", "add", "dev", "lan0", *line.split())
    try:
        in_gateway(lab, scenario)
    finally:
        lab.gateway.run("tc", "qdisc", "del", "dev", "lan0", "root")
        near.namespace.run("nft", "delete", "table", "inet", "arrived")


@contextmanager
def _said_by_the_kernel() -> Iterator[Callable[[], list[str]]]:
    """Yields what returns the records of /dev/kmsg since then.

    Not a comparison of two dmesgs: what came first in one may be gone in the other.
    """
    log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    os.lseek(log, 0, os.SEEK_END)

    def said() -> list[str]:
        records = []
        while True:
            try:
                records.append(os.read(log, 8192).decode(errors="replace"))
            except BrokenPipeError:  # some were overwritten before they were read
                continue
            except BlockingIOError:
                return records

    try:
        yield said
    finally:
        os.close(log)


@pytest.mark.parametrize("rate", [512_000, 10_000_000_000])
def test_the_kernel_warns_of_no_class(lab: Lab, rate: int) -> None:
    """It does of a quantum, or of a TBF's burst, that it finds too small or large."""

    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(replace(RULESET, rate=rate))
        await plane.throttle([flow(lab.client, lab.stranger, PLAIN)])
        assert len(await uploads(plane)) == 1

    with _said_by_the_kernel() as said:
        in_gateway(lab, scenario)
        heard = said()
    assert not [line for line in heard if re.search(r"(?i)quantum|tbf.*burst", line)]


def test_what_the_kernel_says_is_heard() -> None:
    with _said_by_the_kernel() as said:
        Path("/dev/kmsg").write_text("a test of vpngate: tbf: burst\n")
        heard = said()
    assert any("a test of vpngate: tbf: burst" in line for line in heard)
