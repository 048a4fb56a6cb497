# SPDX-License-Identifier: GPL-2.0-or-later
"""Shaping pairs: packets come back as they went, nothing else passes, nothing is lost.

With programs that send packets of chosen ports there (`tests/lab/diverted.py`).
"""

import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from tests.lab import announced, diverted
from tests.lab.diverted import MARK, PRIORITY
from tests.lab.namespaces import wait_until
from tests.lab.topology import Lab, Place
from vpngate.kernel.shaping.devices.naming import ADDRESS
from vpngate.kernel.wire.links import Announcement, Watcher
from vpngate.packets import Direction, HookPoint

pytestmark = pytest.mark.netns

NEAR, FAR = "vgs-vpngate", "vgr-vpngate"
FAST, SLOW = 100_000_000, 512_000
PORTS = (40_100, 50_100)
FEW = 20
_AT_ONCE = 0.1  # seconds
# An operator's: what passes each hook of lan0, what is forwarded, and the class that
# packets of a priority have at lan0 itself.
_COUNT = """
table netdev seen {
    chain in {
        type filter hook ingress device lan0 priority 0
        udp dport 50100 counter
    }
    chain out {
        type filter hook egress device lan0 priority 0
        udp dport 40100 counter
    }
}
table inet seen {
    chain forwarded {
        type filter hook forward priority 0
        udp dport { 50100, 40100 } counter
    }
}
"""


def counted(lab: Lab, family: str, chain: str) -> int:
    listed = lab.gateway.run("nft", "list", "chain", family, "seen", chain)
    return int(listed.split("counter packets ")[1].split()[0])


@contextlib.contextmanager
def operators_rules(lab: Lab) -> Iterator[None]:
    lab.gateway.run("nft", "-f", "-", stdin=_COUNT)
    try:
        yield
    finally:
        for family in ("netdev", "inet"):
            lab.gateway.run("nft", "delete", "table", family, "seen")


def carried(near: Place, far: Place, *, up: bool, size: int = 1200) -> list[bytes]:
    """What arrives of a few datagrams between the two, in order."""
    ends = ((near, PORTS[0]), (far, PORTS[1]))
    source, target = ends if up else ends[::-1]
    with diverted.bound(*source) as sender, diverted.bound(*target) as receiver:
        for number in range(FEW):
            data = number.to_bytes(4, "big") + os.urandom(size - 4)
            sender.sendto(data, (target[0].address, target[1]))
            yield_to = time.monotonic() + 0.002
            while time.monotonic() < yield_to:
                pass
        found: list[bytes] = []
        with contextlib.suppress(TimeoutError):
            while len(found) <= FEW:
                found.append(receiver.recv(65535)[:4])
        return found


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("up", [True, False], ids=["upload", "download"])
def test_packets_come_back_as_they_went_and_once(
    lab: Lab, version: int, *, up: bool
) -> None:
    hook = HookPoint.INGRESS if up else HookPoint.EGRESS
    other = HookPoint.EGRESS if up else HookPoint.INGRESS

    def scenario() -> None:
        with diverted.pairs(FAST) as made:
            made.stand_at("lan0")
            made.divert(1, *PORTS)
            near, far = lab.client.at(version), lab.stranger.at(version)
            arrived = carried(near, far, up=up)
            assert arrived == [number.to_bytes(4, "big") for number in range(FEW)]
            met = made.met(hook)
            assert (met.sent, met.back) == (FEW, FEW)
            assert made.met(other).sent == made.met(other).back == 0
            assert (met.mark, met.priority) == (MARK[hook], PRIORITY[hook])
            assert (met.time, met.tag, met.vlan) == (0, 0, 0)
            made.classes.take(0)
            passed = made.classes.passed()
            way = Direction.UPLOAD if up else Direction.DOWNLOAD
            assert passed[way].packets == FEW
            assert sum(made.shaper.passed().values()) == passed[way].bytes

    with operators_rules(lab):
        lab.gateway.call(scenario)
        chain = "in" if up else "out"
        assert counted(lab, "netdev", chain) == FEW, "an operator's rules see it once"
        assert counted(lab, "inet", "forwarded") == FEW


def test_a_vlan_tag_beside_the_packet_comes_back_with_it(lab: Lab) -> None:
    """Of a frame that came in; nobody has that VLAN, so it ends there."""
    ends = (lab.client.ipv4, lab.stranger.ipv4)
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 17, 0, *map(socket.inet_aton, ends)
    )
    udp = struct.pack("!HHHH", *PORTS, 20, 0) + bytes(12)
    macs = bytes.fromhex((lab.client.next_hop + lab.client.mac).replace(":", ""))
    frame = macs + struct.pack("!HHH", 0x8100, 7, 0x0800) + header + udp

    def scenario() -> None:
        with diverted.pairs(FAST) as made:
            made.stand_at("lan0")
            made.divert(1, *PORTS)
            lab.client.namespace.call(lambda: send_frame("eth0", frame))
            wait_until(lambda: made.met(HookPoint.INGRESS).back == 1, "the frame")
            met = made.met(HookPoint.INGRESS)
            assert (met.sent, met.back, met.vlan) == (1, 1, 7)

    lab.gateway.call(scenario)


def send_frame(device: str, frame: bytes) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((device, 0))
        raw.send(frame)


def packets(lab: Lab, device: str) -> tuple[int, int]:
    """Received and sent."""
    lines = lab.gateway.run("ip", "-s", "link", "show", "dev", device).splitlines()
    return int(lines[3].split()[1]), int(lines[5].split()[1])


def test_nothing_is_said_there_that_nobody_sent(lab: Lab) -> None:
    """A gateway that forwards greets each new neighbour; here there is none."""

    def scenario() -> None:
        with diverted.pairs(FAST):
            time.sleep(3)
            for device in (NEAR, FAR):
                assert packets(lab, device) == (0, 0)
                assert "inet" not in lab.gateway.run("ip", "addr", "show", device)

    lab.gateway.call(scenario)


@pytest.mark.parametrize("into", [NEAR, FAR])
def test_what_others_send_there_goes_nowhere(lab: Lab, into: str) -> None:
    """Also a frame that is addressed to the gateway, and would be forwarded."""
    head = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        40,
        0,
        0,
        64,
        17,
        0,
        *map(socket.inet_aton, (lab.stranger.ipv4, lab.client.ipv4)),
    )
    udp = struct.pack("!HHHH", PORTS[1], PORTS[0], 20, 0) + bytes(12)

    def scenario() -> None:
        with (
            diverted.pairs(FAST),
            diverted.bound(lab.client.at(4), PORTS[0]) as receiver,
        ):
            other = FAR if into == NEAR else NEAR
            [link] = diverted.addresses_of(other)
            frame = link + ADDRESS + b"\x08\0" + head + udp
            before = packets(lab, "lan0")[1]
            for _ in range(FEW):
                send_frame(into, frame)
            assert packets(lab, other)[0] == FEW
            receiver.settimeout(0.5)
            if into == NEAR:  # towards what returns packets
                with pytest.raises(TimeoutError):
                    receiver.recv(100)
                assert packets(lab, "lan0")[1] == before

    lab.gateway.call(scenario)


DAMAGES = {
    "the far end set down": f"ip link set {FAR} down",
    "the near end set down": f"ip link set {NEAR} down",
    "the near end renamed": f"ip link set {NEAR} name other0",
    "the pair deleted": f"ip link del {FAR}",
    "the filter deleted": f"tc filter del dev {FAR} ingress",
    "its place deleted": f"tc qdisc del dev {FAR} clsact",
    "the far end made small": f"ip link set {FAR} mtu 1400",
    "the root replaced": f"tc qdisc replace dev {NEAR} root pfifo",
}
# After these no packet is lost at once, or it is no news of what could be told.
QUIET = ("the far end made small", "the root replaced", "the near end renamed")


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_was_damaged_is_noticed_at_once_and_made_anew(
    lab: Lab, damage: str
) -> None:
    """At once: when the kernel tells, which a control beside it is told, too.

    The program that does the damage, and the kernel before it tells, take what the
    machine has to give: they are no part of it. Nor is the time for which the kernel
    had the thread wait for a processor.
    """

    def scenario() -> None:
        with (
            diverted.pairs(FAST) as made,
            contextlib.closing(Watcher()) as watcher,
        ):
            made.stand_at("lan0")
            made.divert(1, *PORTS)
            way = diverted.way_of(made.shaper)
            assert made.shaper.missing() == []
            before = made.shaper.index_of(1)
            with announced.hearing(watcher, lab.gateway) as both:
                announced.in_one_stroke(DAMAGES[damage].split())
                assert both.lateness(way.concerns) < _AT_ONCE
                if damage not in QUIET:
                    assert both.lateness(way.endangers) < _AT_ONCE
            assert made.shaper.missing() == [0]
            made.classes.lost(0)
            made.shaper.build(0)
            while made.classes.advance():
                pass
            assert made.shaper.missing() == []
            made.divert(1, *PORTS)
            assert made.shaper.index_of(1) != before
            arrived = carried(lab.client.at(4), lab.stranger.at(4), up=False)
            assert len(arrived) == FEW

    lab.gateway.call(scenario)


def test_who_watches_sleeps_until_the_kernel_tells(lab: Lab) -> None:
    """Counted by the kernel, in a time in which a control is told nothing."""

    def scenario() -> None:
        with (
            contextlib.closing(Watcher()) as watcher,
            announced.hearing(watcher, lab.gateway) as both,
        ):

            def nothing_is_told() -> bool:
                asleep = announced.times_asleep(watcher)
                time.sleep(1.5)
                woken = announced.times_asleep(watcher) - asleep
                told = both.begin()
                assert told or not woken
                # It is its sleep that is counted: it has been woken since.
                assert announced.times_asleep(watcher) > asleep + woken
                return not told

            wait_until(nothing_is_told, "a time without news")

    lab.gateway.call(scenario)


def test_making_a_pair_is_no_danger_to_those_that_there_are(lab: Lab) -> None:
    def scenario() -> None:
        heard: list[Announcement] = []
        with (
            diverted.pairs(FAST) as made,
            contextlib.closing(Watcher()) as watcher,
        ):
            way = diverted.way_of(made.shaper)
            watcher.tell(heard.append)
            made.shaper.have(range(1, 20))
            time.sleep(0.5)
            assert heard
            assert not [news for news in heard if way.endangers(news)]
            assert made.shaper.missing() == []

    lab.gateway.call(scenario)
