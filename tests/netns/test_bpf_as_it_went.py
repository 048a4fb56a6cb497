# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes back from a pair is what was sent there, whomever it was for.

And what cannot come back so is not sent. The gateway's interfaces are those of
`wire.py`, but where a bridge or a tun is laid beside.
"""

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.lab.attachings import over_each
from tests.lab.namespaces import LabError, wait_until
from tests.netns.test_bpf_frames import NO_INFORMATION, TUN, TUNSETIFF
from tests.netns.test_bpf_left_alone import netfilter_sees
from tests.netns.test_bpf_plane import (
    GATEWAY,
    HOST,
    PORTS,
    RULES,
    Running,
    at_the_gateway,
    flow,
)
from tests.netns.test_veth_tun import summed
from tests.netns.wire import Wire, mouth
from vpngate.kernel.survey.namespace import datagram
from vpngate.packets import Endpoint, parse_address

pytestmark = over_each

_IPV4 = 0x0800
OWN = "02:00:00:00:99:01"  # of a bridge or a bond
FOR_US, TO_ALL, TO_SOME, FOR_ANOTHER = range(4)  # PACKET_*
_SUBSCRIBER, _REMOTE = (
    Endpoint(parse_address(address), port)
    for address, port in zip((HOST, GATEWAY), PORTS, strict=True)
)


def address_of(wire: Wire, device: str) -> str:
    path = f"/sys/class/net/{device}/address"
    return wire.gateway.run("cat", path).strip()


async def slowing(running: Running) -> None:
    assert not running.plane.refused
    await running.plane.throttle([flow()])
    await running.plane.rearm()


def bridged(wire: Wire) -> None:
    """The host knows the gateway by the address of the bridge's port, not its own."""
    port = address_of(wire, "gate0")
    netfilter_sees(wire, 0)
    wire.gateway.ip(
        "addr flush dev gate0",
        f"link add br0 address {OWN} type bridge",
        "link set gate0 master br0",
        f"addr add {GATEWAY}/24 dev br0",
        "link set br0 up",
    )
    wire.host.ip(f"neigh replace {GATEWAY} lladdr {port} dev eth0 nud permanent")


def bonded(wire: Wire) -> None:
    """Two wires, and the host speaks by one whose port is not called like the bond."""
    wire.host.ip(
        f"link add eth1 type veth peer name gate1 netns {wire.gateway.path}",
        "link set eth1 up",
    )
    made = f"link add bond0 address {OWN} type bond mode balance-alb miimon 20"
    try:
        wire.gateway.ip(made)
    except LabError:
        pytest.skip("needs a kernel with bonding")
    ports = {"gate0": "eth0", "gate1": "eth1"}
    wire.gateway.ip(
        "addr flush dev gate0",
        *(f"link set {port} down" for port in ports),
        *(f"link set {port} master bond0" for port in ports),
        f"addr add {GATEWAY}/24 dev bond0",
        "link set bond0 up",
    )

    def both_are_up() -> bool:
        told = wire.gateway.run("cat", "/proc/net/bonding/bond0")
        return told.count("MII Status: up") == 1 + len(ports)

    wait_until(both_are_up, "the bond")
    [(port, device)] = [one for one in ports.items() if address_of(wire, one[0]) != OWN]
    wire.host.ip(
        "addr flush dev eth0",
        f"addr add {HOST}/24 dev {device}",
        f"neigh replace {GATEWAY} lladdr {address_of(wire, port)} dev {device}"
        " nud permanent",
    )


LAYINGS = {"br0": bridged, "bond0": bonded}


@pytest.mark.parametrize("device", LAYINGS)
def test_a_frame_for_a_ports_own_address_arrives(attaching: str, device: str) -> None:
    """Who takes it for its own still does when it comes back."""

    async def scenario(running: Running) -> None:
        assert await running.send(5) == 5
        await slowing(running)
        assert await running.send(5) == 5
        assert await running.diverted() == 5

    rules = replace(RULES, interfaces=(device,), reverse_path=False)
    at_the_gateway(attaching, scenario, rules, LAYINGS[device])


def test_whom_a_packet_is_for_is_known_behind_a_pair(attaching: str) -> None:

    async def scenario(running: Running) -> None:
        own = address_of(running.wire, "gate0").replace(":", "")
        kinds = {
            FOR_US: own,
            TO_ALL: "ff" * 6,
            TO_SOME: "01005e000001",
            FOR_ANOTHER: "020000000fff",
        }
        await slowing(running)
        hearing = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        with hearing, mouth(running.wire.host, "eth0") as speaking:
            hearing.bind(("gate0", _IPV4))
            hearing.setblocking(False)
            for kind, to in kinds.items():
                frame = bytes.fromhex(to) + bytes.fromhex("020000000001") + b"\x08\0"
                speaking.send(frame + datagram(_SUBSCRIBER, _REMOTE, bytes([kind])))
            await asyncio.sleep(0.3)
            came = Counter[tuple[int, int]]()
            with contextlib.suppress(BlockingIOError):
                while True:
                    packet, (_, _, kind, *_) = hearing.recvfrom(2000)
                    came[packet[-1], kind] += 1
        assert dict(came) == {(kind, kind): 1 for kind in kinds}
        assert await running.diverted() == len(kinds)

    at_the_gateway(attaching, scenario)


@contextlib.contextmanager
def behind_a_tun() -> Iterator[list[int]]:
    """Will hold the descriptor that is the wire of tun0, once that is laid."""
    made: list[int] = []
    try:
        yield made
    finally:
        for descriptor in made:
            os.close(descriptor)


def tunnelled(wire: Wire, made: list[int]) -> None:
    def opened() -> int:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        request = struct.pack("16sH", b"tun0", TUN | NO_INFORMATION)
        fcntl.ioctl(descriptor, TUNSETIFF, request.ljust(40, b"\0"))
        return descriptor

    made.append(wire.gateway.call(opened))
    wire.gateway.ip(
        "addr flush dev gate0",
        f"addr add {GATEWAY}/24 dev tun0",
        "link set tun0 mtu 65000 up",
    )


def test_what_has_no_room_for_a_header_is_not_slowed_nor_counted(
    attaching: str,
) -> None:
    """A pair wants Ethernet's: the kernel gives it to no packet of some 16 KB."""

    with behind_a_tun() as made:

        async def scenario(running: Running) -> None:
            await slowing(running)
            there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with there:
                there.bind((GATEWAY, PORTS[1]))
                there.settimeout(5)
                for size, slowed in ((1000, 1), (20_000, 1), (1000, 2)):
                    os.write(
                        made[0], summed(datagram(_SUBSCRIBER, _REMOTE, bytes(size)))
                    )
                    assert len(await asyncio.to_thread(there.recv, 1 << 16)) == size
                    assert await running.diverted() == slowed

        rules = replace(RULES, interfaces=("tun0",), reverse_path=False)
        at_the_gateway(attaching, scenario, rules, lambda wire: tunnelled(wire, made))
