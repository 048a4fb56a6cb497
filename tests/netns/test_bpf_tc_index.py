# SPDX-License-Identifier: GPL-2.0-or-later
"""A tc_index that somebody has given a packet is there behind a pair, or none is used.

    other                gateway                  host
      eth0 ── gate1 ──────┘   └── gate0 ── eth0
      10.78.0.1                            10.77.0.1

A program in another namespace gives it: a wire of veth leaves it, as does routing.
"""

import asyncio
import contextlib
import socket
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.attachings import over_each
from tests.lab.namespaces import Namespace
from tests.netns.test_bpf_plane import (
    HOST,
    PORTS,
    Running,
    at_the_gateway,
    flow,
)
from tests.netns.wire import Wire
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.assembly import R0, R1, R2, R6, ActionCode, Assembly, Context
from vpngate.kernel.bpf.maps import Map, index, mapped_array
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.channel import ROUTE, Change, Channel
from vpngate.packets import Direction, Endpoint, parse_address

pytestmark = over_each

OTHER, ITS_GATEWAY = "10.78.0.1", "10.78.0.2"
_IPV4 = 0x0008  # in network order


def giving(value: int) -> Assembly:
    code = Assembly().set(R6, R1).set(R1, value)
    return code.store(4, R6, Context.TC_INDEX, R1).exit(ActionCode.NEXT)


def noting(seen: Map) -> Assembly:
    """That of the last packet of IPv4."""
    code = Assembly().load(4, R0, R1, Context.PROTOCOL).jump("!=", R0, _IPV4, "out")
    code.load(4, R2, R1, Context.TC_INDEX).map_value(R1, seen).store(8, R1, 0, R2)
    return code.label("out").exit(ActionCode.NEXT)


def put(namespace: Namespace, side: int, code: Assembly) -> None:
    """Have it stand at a side of eth0 there."""

    def stand() -> None:
        program = programs.load(code.assembled(), "tried")
        here = socket.if_nametoindex("eth0")
        place = tc.Place(here, 1, side, 1 << 16)
        with closing(Channel(ROUTE)) as channel:
            changes = [
                Change(tc.new_clsact(here), "clsact"),
                Change(tc.new_classifier(place, program, "tried"), "filter"),
            ]
            assert not channel.each(changes)
        programs.close(program)

    namespace.call(stand)


@pytest.mark.parametrize("value", [5, 0x7685])
def test_what_comes_in_with_one_is_not_slowed(attaching: str, value: int) -> None:
    """There is no room for it beside what a packet that comes in carries."""

    async def scenario(running: Running) -> None:
        await running.plane.throttle([flow()])
        await running.plane.rearm()
        assert await running.send(5) == 5
        assert await running.diverted() == 5
        put(running.wire.host, tc.CLSACT_EGRESS, giving(value))
        assert await running.send(5) == 5
        assert await running.diverted() == 5

    at_the_gateway(attaching, scenario)


def sent_out(other: Namespace, host: Namespace, count: int) -> int:
    """From the other to the host; how many arrived."""

    def opened(address: str, port: int) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((address, port))
        made.settimeout(1)
        return made

    there = host.call(lambda: opened(HOST, PORTS[0]))
    here = other.call(lambda: opened(OTHER, PORTS[1]))
    arrived = 0
    with there, here:
        for _ in range(count):
            here.sendto(b"here", (HOST, PORTS[0]))
        with contextlib.suppress(TimeoutError):
            while arrived < count:
                arrived += bool(there.recv(100))
    return arrived


@pytest.mark.parametrize(
    ("value", "slowed"),
    [(0, True), (1, True), (63, True), (64, False), (0x7641, False)],
)
def test_what_goes_out_keeps_its_own(
    attaching: str,
    value: int,
    slowed: bool,  # noqa: FBT001 - a case
) -> None:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        other = stack.enter_context(closing(Namespace("other", folder)))
        seen = stack.enter_context(closing(mapped_array("seen", 8)))

        def lay(wire: Wire) -> None:
            other.ip(
                f"link add eth0 type veth peer name gate1 netns {wire.gateway.path}",
                f"addr add {OTHER}/24 dev eth0",
                "link set eth0 up",
                f"route add default via {ITS_GATEWAY}",
            )
            wire.gateway.ip(f"addr add {ITS_GATEWAY}/24 dev gate1", "link set gate1 up")
            put(other, tc.CLSACT_EGRESS, giving(value))
            put(wire.host, tc.CLSACT_INGRESS, noting(seen))

        async def scenario(running: Running) -> None:
            far = Endpoint(parse_address(OTHER), PORTS[1])
            await running.plane.throttle([replace(flow(), remote=far)])
            await running.plane.rearm()
            host = running.wire.host
            assert await asyncio.to_thread(sent_out, other, host, 5) == 5
            assert seen.get(index(0)) == value.to_bytes(8, "little")
            counters = await running.plane.counters()
            diverted = counters.diverted_packets[Direction.DOWNLOAD]
            assert diverted == (5 if slowed else 0)

        at_the_gateway(attaching, scenario, lay=lay)
