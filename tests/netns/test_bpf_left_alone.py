# SPDX-License-Identifier: GPL-2.0-or-later
"""Interfaces that need of a packet what a pair takes off it.

    host                              gateway
      far0 ─── vxlan over the wire ─── near0, perhaps with top0 on it
      10.88.0.1                         10.88.0.2

Each way is tried with a flow that has a verdict: it arrives as it would without one.
nftables slows it there.
"""

import asyncio
import errno
import select
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.lab.namespaces import PATIENCE, LabError
from tests.lab.plane import RULESET
from tests.netns.wire import Wire, build
from vpngate.kernel.bpf import ipsec_paths
from vpngate.kernel.bpf_steps import BpfSteps
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.steps import Steps
from vpngate.packets import Direction, Endpoint, Transport, parse_address
from vpngate.policy import Throttle
from vpngate.ruleset import Ruleset

HOST, GATEWAY = ("10.88.0.1", 40000), ("10.88.0.2", 51820)
_COUNT = 20
_SOL_IP, _IP_MTU_DISCOVER, _DO = 0, 10, 2
_MAC = "02:00:00:00:88:0"
_SEEN = Path("/proc/sys/net/bridge")
_TUNNEL = f"link add near0 address {_MAC}3 type vxlan dstport 4789"


class Shape(NamedTuple):
    """What stands at the gateway, on which the flow is slowed, and what is told."""

    interface: str
    lines: tuple[str, ...]
    told: str
    size: int = 100


def _with_route(interface: str, *lines: str) -> tuple[str, ...]:
    """Packets are told by their route where the tunnel's other end is."""
    return (
        f"{_TUNNEL} external",
        "link set near0 up",
        *lines,
        f"link set {interface} address {_MAC}2 up",
        f"addr add {GATEWAY[0]}/24 dev {interface}",
        f"route add {HOST[0]}/32 encap ip id 100 dst 10.77.0.1 dev {interface}",
        f"neigh add {HOST[0]} lladdr {_MAC}1 dev {interface}",
    )


SHAPES = {
    "external": Shape("near0", _with_route("near0"), "(vxlan external)"),
    "on one that is": Shape(
        "top0",
        _with_route("top0", "link add link near0 name top0 type macvlan mode bridge"),
        "stands on near0, which sends a packet where its route says",
    ),
    "a bridge of one that is": Shape(
        "top0",
        _with_route("top0", "link add top0 type bridge", "link set near0 master top0"),
        "stands on near0, which sends a packet where its route says",
    ),
    "that tells how long": Shape(
        "near0",
        (
            f"{_TUNNEL} id 100 remote 10.77.0.1 df set",
            f"link set near0 address {_MAC}2 mtu 1450 up",
            f"addr add {GATEWAY[0]}/24 dev near0",
            f"neigh add {HOST[0]} lladdr {_MAC}1 dev near0",
            "route add 10.77.0.1/32 dev gate0 mtu 1300",
        ),
        "(vxlan with df)",
        1400,
    ),
}


def rules(interface: str) -> Ruleset:
    return replace(RULESET, interfaces=(interface,), reverse_path=False)


def flow() -> Throttle:
    near, far = (Endpoint(parse_address(one), port) for one, port in (HOST, GATEWAY))
    return Throttle(Transport.UDP, near, far, near.address, 180, tunnel="wireguard")


class Came(NamedTuple):
    """Datagrams that arrived, and how often a sender was told that one is too long."""

    up: int
    down: int
    told: int


def _opened(end: tuple[str, int]) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(end)
    made.setblocking(False)
    made.setsockopt(_SOL_IP, _IP_MTU_DISCOVER, _DO)
    return made


def _heard(sock: socket.socket, enough: Callable[[int], bool]) -> int:
    """How many arrive: waits until it is enough, and reads what else is there."""
    count = 0
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            count += bool(sock.recv(9000))
        except BlockingIOError:
            left = deadline - time.monotonic()
            if enough(count) or not select.select([sock], [], [], max(0.0, left))[0]:
                return count
        except OSError as error:  # of the last that was sent
            if error.errno != errno.EMSGSIZE:
                raise


def exchange(wire: Wire, size: int) -> Came:
    """Both ways at once, the larger ones down.

    Of those that are too long the first may be lost: it is how the kernel learns it.
    """
    told = 0
    near = wire.gateway.call(partial(_opened, GATEWAY))
    far = wire.host.call(partial(_opened, HOST))
    with near, far:
        for _ in range(_COUNT):
            far.sendto(bytes(100), GATEWAY)
            try:
                near.sendto(bytes(size), HOST)
            except OSError as error:
                told += error.errno == errno.EMSGSIZE
            time.sleep(0.005)
        sent = _COUNT - told
        up = _heard(near, lambda count: count >= _COUNT)
        return Came(up, _heard(far, lambda count: count >= sent - bool(told)), told)


def netfilter_sees(wire: Wire, value: int) -> None:
    """Whether it sees the frames of all bridges, of IPv4; those of IPv6 it does not."""
    if _SEEN.is_dir():  # else it sees none
        wire.gateway.sysctl("net.bridge.bridge-nf-call-iptables", value)
        wire.gateway.sysctl("net.bridge.bridge-nf-call-ip6tables", 0)


def over(
    steps: Steps, wire: Wire, interface: str, scenario: Callable[..., Awaitable[None]]
) -> None:
    async def whole() -> None:
        plane = LiveDataPlane(steps=steps)
        try:
            await plane.start(rules(interface))
            await plane.throttle([flow()])
            await plane.rearm()
            await scenario(plane)
        finally:
            await plane.stop()

    wire.gateway.call(lambda: asyncio.run(whole()))


def lay_tunnel(wire: Wire) -> None:
    """The host's end of it."""
    wire.host.ip(
        f"link add far0 address {_MAC}1 type vxlan id 100 remote 10.77.0.2"
        " dstport 4789",
        f"addr add {HOST[0]}/24 dev far0",
        "link set far0 up",
        f"neigh add {GATEWAY[0]} lladdr {_MAC}2 dev far0",
    )
    netfilter_sees(wire, 0)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("steps", [BpfSteps, Steps])
def test_one_that_needs_a_packets_route_is_left_alone(
    name: str, steps: type[Steps]
) -> None:
    shape = SHAPES[name]
    programs = steps is BpfSteps

    async def scenario(wire: Wire, plane: LiveDataPlane) -> None:
        assert set(plane.refused) == ({shape.interface} if programs else set())
        assert shape.told in plane.refused.get(shape.interface, shape.told)
        came = await asyncio.to_thread(exchange, wire, shape.size)
        assert came.up == _COUNT
        assert came.down + came.told >= _COUNT - 1  # the first that was too long
        counters = await plane.counters()
        slowed = sum(counters.diverted_packets.values())
        assert bool(slowed) is not programs

    with build() as wire:
        lay_tunnel(wire)
        wire.gateway.ip(*shape.lines)
        over(steps(), wire, shape.interface, partial(scenario, wire))


_PLAIN = f"{_TUNNEL} id 100 remote 10.77.0.1"
_ADDRESSED = f"addr add {GATEWAY[0]}/24 dev"


@pytest.mark.parametrize(
    ("interface", "lines"),
    [
        ("near0", (f"link set near0 address {_MAC}2",)),
        (
            "top0",
            (
                f"link add top0 address {_MAC}2 type bridge",
                "link set near0 master top0 up",
            ),
        ),
    ],
)
def test_a_plain_tunnel_and_a_bridge_of_one_are_had(
    interface: str, lines: tuple[str, ...]
) -> None:
    async def scenario(wire: Wire, plane: LiveDataPlane) -> None:
        await plane.verify()
        assert not plane.refused
        came = await asyncio.to_thread(exchange, wire, 100)
        assert came == (_COUNT, _COUNT, 0)
        counters = await plane.counters()
        assert set(counters.diverted_packets.values()) == {_COUNT}

    with build() as wire:
        lay_tunnel(wire)
        up = f"link set {interface} up"
        neighbour = f"neigh add {HOST[0]} lladdr {_MAC}1 dev {interface}"
        wire.gateway.ip(_PLAIN, *lines, f"{_ADDRESSED} {interface}", up, neighbour)
        over(BpfSteps(), wire, interface, partial(scenario, wire))


_PORT = 5000
_NAT = f"""table ip nat {{
    chain p {{
        type nat hook prerouting priority -100;
        ip daddr {GATEWAY[0]} udp dport {_PORT} dnat to {GATEWAY[0]}:{GATEWAY[1]};
    }}
}}"""


def translated(wire: Wire) -> tuple[int, int]:
    """To a port that is translated: how many arrived, and answers that look right."""
    near = wire.gateway.call(partial(_opened, GATEWAY))
    far = wire.host.call(partial(_opened, HOST))
    right = 0
    with near, far:
        for _ in range(_COUNT):
            far.sendto(b"there", (GATEWAY[0], _PORT))
            time.sleep(0.01)
        arrived = 0
        while arrived < _COUNT and _comes(near):
            near.sendto(b"back", near.recvfrom(9000)[1])
            arrived += 1
        for _ in range(arrived):
            if not _comes(far):
                break
            right += far.recvfrom(9000)[1] == (GATEWAY[0], _PORT)
        more = bool(select.select([near, far], [], [], 0)[0])
    return arrived + more, right


def _comes(sock: socket.socket) -> bool:
    """Whether one more arrives."""
    return bool(select.select([sock], [], [], PATIENCE)[0])


def both_ports() -> list[Throttle]:
    """By the port that packets have when they come, and by the one they have then."""
    one = flow()
    return [
        replace(one, remote=Endpoint(parse_address(GATEWAY[0]), port))
        for port in (GATEWAY[1], _PORT)
    ]


@pytest.mark.skipif(not _SEEN.is_dir(), reason="needs br_netfilter")
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("steps", [BpfSteps, Steps])
def test_a_bridge_whose_packets_netfilter_has_seen_is_left_alone(
    steps: type[Steps],
    own: bool,  # noqa: FBT001 - a case
) -> None:
    """Of which the address has been translated, and would be again, to another."""
    programs = steps is BpfSteps

    async def scenario(wire: Wire, plane: LiveDataPlane) -> None:
        assert set(plane.refused) == ({"br0"} if programs else set())
        await plane.throttle(both_ports())
        assert await asyncio.to_thread(translated, wire) == (_COUNT, _COUNT)
        if not programs:
            return
        told = "nf_call_iptables" if own else "net.bridge.bridge-nf-call-iptables"
        assert f"netfilter has seen already ({told})" in plane.refused["br0"]
        quiet = "link set br0 type bridge nf_call_iptables 0"
        await asyncio.to_thread(wire.gateway.ip, quiet)
        await asyncio.to_thread(netfilter_sees, wire, 0)
        await plane.verify()
        assert not plane.refused
        await asyncio.to_thread(netfilter_sees, wire, 1)
        await plane.verify()
        assert set(plane.refused) == {"br0"}

    with build() as wire:
        option = " nf_call_iptables 1" if own else ""
        wire.gateway.ip(
            "addr flush dev gate0",
            f"link add br0 type bridge{option}",
            "link set gate0 master br0",
            f"addr add {GATEWAY[0]}/24 dev br0",
            "link set br0 up",
        )
        wire.host.ip(f"addr add {HOST[0]}/24 dev eth0")
        netfilter_sees(wire, int(not own))
        wire.gateway.run("nft", "-f", "-", stdin=_NAT)
        over(steps(), wire, "br0", partial(scenario, wire))


_KEY = "0x" + "17" * 32
_ENDS = "src 10.77.0.1 dst 10.77.0.2 proto esp"
_STATE = (
    f"state add {_ENDS} spi 0x100 mode tunnel"
    f" auth-trunc 'hmac(sha256)' {_KEY} 128 enc 'ecb(cipher_null)' ''"
)


def _policy(direction: str) -> str:
    inner = f"src {HOST[0]} dst {GATEWAY[0]} dir {direction}"
    return f"policy add {inner} tmpl {_ENDS} mode tunnel"


def has_ipsec(wire: Wire) -> bool:
    """Have what the host sends to the gateway go by IPsec, if this kernel has that."""
    wire.host.ip(
        f"addr add {HOST[0]}/32 dev eth0",
        f"route add {GATEWAY[0]}/32 dev eth0 via 10.77.0.2 src {HOST[0]}",
    )
    wire.gateway.ip(
        f"addr add {GATEWAY[0]}/32 dev gate0", f"route add {HOST[0]}/32 dev gate0"
    )
    for namespace, direction in ((wire.host, "out"), (wire.gateway, "in")):
        try:
            script = f"ip xfrm {_STATE}; ip xfrm {_policy(direction)}"
            namespace.run("sh", "-ec", script)
        except LabError as error:
            if "type not found" in str(error):
                return False
            raise
    return True


def test_what_ipsec_has_let_in_is_left_alone() -> None:
    """A policy asks for what tells of it, behind the hook; a pair takes that off."""

    async def scenario(wire: Wire, plane: LiveDataPlane) -> None:
        assert not plane.refused
        came = await asyncio.to_thread(exchange, wire, 100)
        assert came.up == _COUNT
        counters = await plane.counters()
        assert counters.diverted_packets[Direction.UPLOAD] == 0

    with build() as wire:
        if not has_ipsec(wire):
            pytest.skip("needs ESP, which this kernel has not got")
        over(BpfSteps(), wire, "gate0", partial(scenario, wire))


def test_whether_there_is_ipsec_is_asked_of_the_kernel() -> None:
    assert ipsec_paths.is_known() is Path("/proc/net/xfrm_stat").exists()
