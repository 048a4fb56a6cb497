# SPDX-License-Identifier: GPL-2.0-or-later
"""What others have put beside an interface that asks packets for what a pair takes off.

Its neighbour `test_bpf_left_alone.py` is about interfaces themselves.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import cast

import pytest

from tests.lab.attachings import over_each
from tests.lab.namespaces import LabError
from tests.netns.test_bpf_left_alone import (
    GATEWAY,
    HOST,
    exchange,
    netfilter_sees,
    over,
    rules,
)
from tests.netns.test_bpf_plane import RULES, Running, at_the_gateway, flow
from tests.netns.wire import Wire, build
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.assembly import R0, R1, R2, R3, Assembly
from vpngate.kernel.bpf.maps import Map, index, mapped_array
from vpngate.kernel.bpf.needs import kernel_release, root_filters
from vpngate.kernel.bpf.syscall import CallAttributes, Command, ProgramKind, call
from vpngate.kernel.bpf_steps import BpfSteps
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.steps import Steps
from vpngate.packets import Direction

_COUNT = 20
BRIDGED = (
    "addr flush dev gate0",
    "link add br0 type bridge",
    "link set gate0 master br0",
    f"addr add {GATEWAY[0]}/24 dev br0",
    "link set br0 up",
)
_HOOK = "type filter hook {} priority 0; policy accept;"


def chain_of(family: str, hook: str, *lines: str) -> str:
    body = " ".join((_HOOK.format(hook), *(f"{line};" for line in lines)))
    return f"table {family} own {{ chain c {{ {body} }}; }}"


# Of what goes out of the bridge only answers.
ANSWERS = chain_of(
    "bridge",
    "output",
    f"udp sport {GATEWAY[1]} ct state established accept",
    f"udp sport {GATEWAY[1]} drop",
)


def lay_bridge(wire: Wire) -> None:
    wire.gateway.ip(*BRIDGED)
    wire.host.ip(f"addr add {HOST[0]}/24 dev eth0")
    netfilter_sees(wire, 0)


@pytest.mark.parametrize("steps", [BpfSteps, Steps])
def test_an_answer_out_of_a_bridge_keeps_its_connection(steps: type[Steps]) -> None:
    async def scenario(wire: Wire, plane: LiveDataPlane) -> None:
        assert set(plane.refused) == ({"br0"} if steps is BpfSteps else set())
        came = await asyncio.to_thread(exchange, wire, 100)
        assert came.up == _COUNT
        assert came.down >= _COUNT - 2  # the first may go before it has come

    with build() as wire:
        lay_bridge(wire)
        try:
            wire.gateway.run("nft", ANSWERS)
        except LabError:
            pytest.skip("needs a kernel with nf_conntrack_bridge")
        over(steps(), wire, "br0", partial(scenario, wire))


@pytest.mark.parametrize("hook", ["prerouting", "input", "output", "postrouting"])
def test_a_bridge_beside_a_chain_of_bridges_is_left_alone(hook: str) -> None:
    """For as long as it is there; and what stands on such a bridge."""

    async def scenario(wire: Wire, plane: LiveDataPlane) -> None:
        for interface in ("br0", "top0"):
            await plane.replace(rules(interface))
            assert not plane.refused
            wire.gateway.run("nft", chain_of("bridge", hook))
            await plane.verify()
            told = plane.refused[interface]
            assert "is a bridge, and the chain bridge own c may ask" in told
            assert told.startswith("stands on br0") is (interface == "top0")
            wire.gateway.run("nft", "delete", "table", "bridge", "own")
            await plane.verify()
            assert not plane.refused

    with build() as wire:
        lay_bridge(wire)
        wire.gateway.ip("link add link br0 name top0 type macvlan", "link set top0 up")
        over(BpfSteps(), wire, "br0", partial(scenario, wire))


def test_other_chains_keep_nobody_off() -> None:
    async def scenario(wire: Wire, plane: LiveDataPlane) -> None:
        for family, hook in (("bridge", "forward"), ("inet", "output")):
            wire.gateway.run("nft", chain_of(family, hook))
            await plane.verify()
            assert not plane.refused

    with build() as wire:
        lay_bridge(wire)
        over(BpfSteps(), wire, "br0", partial(scenario, wire))


CLASSES = (
    "qdisc add dev gate0 root handle 1: htb default 20",
    "class add dev gate0 parent 1: classid 1:10 htb rate 1gbit",
    "class add dev gate0 parent 1: classid 1:20 htb rate 1gbit",
)
BY_ROUTE = "filter add dev gate0 parent 1: protocol ip route to 10 classid 1:10"
BY_ADDRESS = (
    "filter add dev gate0 parent 1: protocol ip u32 match ip dst 10.77.0.1 classid 1:10"
)


def tc(wire: Wire, *lines: str) -> None:
    for line in lines:
        wire.gateway.run("tc", *line.split())


@over_each
def test_a_root_that_chooses_by_address_is_had(attaching: str) -> None:
    async def scenario(running: Running) -> None:
        assert not running.plane.refused
        await running.plane.throttle([flow()])
        await running.plane.rearm()
        assert await running.send(5) == 5
        assert await running.diverted() == 5

    at_the_gateway(attaching, scenario, lay=lambda wire: tc(wire, *CLASSES, BY_ADDRESS))


def test_a_root_that_chooses_by_route_is_left_alone() -> None:
    async def scenario(running: Running) -> None:
        assert "(route)" in running.plane.refused["gate0"]

    def lay(wire: Wire) -> None:
        tc(wire, *CLASSES)
        try:
            tc(wire, BY_ROUTE)
        except LabError:
            pytest.skip("needs a kernel with cls_route")

    at_the_gateway("filters", scenario, lay=lay)


def test_a_root_is_looked_at_below_an_interface_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As if u32 asked for a route: every kernel has that."""
    others = root_filters._BY_WHAT_STAYS - {"u32"}
    monkeypatch.setattr(root_filters, "_BY_WHAT_STAYS", others)

    async def scenario(running: Running) -> None:
        plane = running.plane
        assert plane.refused["gate0"].startswith("has a filter at its root (u32)")
        assert plane.refused["top0"].startswith("stands on gate0, which has a filter")
        tc(running.wire, "qdisc del dev gate0 root")
        await plane.verify()
        assert not plane.refused

    def lay(wire: Wire) -> None:
        tc(wire, *CLASSES, BY_ADDRESS)
        wire.gateway.ip("link add link gate0 name top0 type macvlan")

    some = replace(RULES, interfaces=("gate0", "top0"))
    at_the_gateway("filters", scenario, some, lay)


@contextlib.contextmanager
def generic_xdp(wire: Wire, counts: Map) -> Iterator[None]:
    """A program there, behind the driver, that counts packets of IPv4."""

    def put() -> int:
        code = Assembly()
        code.load(4, R2, R1, 0).load(4, R3, R1, 4).set(R0, R2).compute("+", R0, 14)
        code.jump(">", R0, R3, "out").load(2, R0, R2, 12).jump("!=", R0, 8, "out")
        code.map_value(R1, counts).set(R2, 1).add_at(R1, 0, R2)
        code.label("out").exit(2)  # XDP_PASS
        kind = cast("ProgramKind", 6)  # BPF_PROG_TYPE_XDP
        program = programs.load(code.assembled(), "counting", kind)
        here = socket.if_nametoindex("gate0")
        # BPF_XDP, XDP_FLAGS_SKB_MODE
        told = CallAttributes("IIII", program, here, 37, 2)
        link = call(Command.LINK_CREATE, told, "attach a program of XDP")
        programs.close(program)
        return link

    link = wire.gateway.call(put)
    try:
        yield
    finally:
        programs.close(link)


@over_each
def test_a_generic_xdp_program_meets_a_slowed_packet_once(
    attaching: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Linux 6.4 it would meet it twice: there the interface is left alone."""
    counts = mapped_array("counts", 8)

    async def scenario(running: Running) -> None:
        plane = running.plane
        await plane.throttle([flow()])
        await plane.rearm()
        with generic_xdp(running.wire, counts):
            await plane.verify()
            assert bool(plane.refused) is kernel_release.is_before((6, 4))
            before = await running.diverted()
            assert await running.send(10) == 10
            assert counts.get(index(0)) == (10).to_bytes(8, "little")
            slowed = await running.diverted() - before
            assert slowed == (0 if plane.refused else 10)
            with monkeypatch.context() as older:
                older.setattr(kernel_release, "running", lambda: (6, 1))
                await plane.verify()
                assert "generic XDP" in plane.refused["gate0"]
                before = await running.diverted()
                assert await running.send(5) == 5
                assert await running.diverted() == before
        await plane.verify()
        assert not plane.refused

    at_the_gateway(attaching, scenario)
    counts.close()


def test_both_ways_of_a_bridge_are_slowed_beside_no_chain() -> None:
    """The control of what is left alone above."""

    async def scenario(wire: Wire, plane: LiveDataPlane) -> None:
        assert not plane.refused
        came = await asyncio.to_thread(exchange, wire, 100)
        assert came.up == _COUNT
        assert came.down >= _COUNT - 2  # the first may go before it has come
        counters = await plane.counters()
        assert counters.diverted_packets == dict.fromkeys(Direction, _COUNT)

    with build() as wire:
        lay_bridge(wire)
        over(BpfSteps(), wire, "br0", partial(scenario, wire))
