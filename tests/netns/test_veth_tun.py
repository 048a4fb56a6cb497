# SPDX-License-Identifier: GPL-2.0-or-later
"""Shaping pairs behind an interface without a link header: a tun, as ppp would be.

tun9 (100.64.9.1, the test is behind it) ── gateway ── stranger
"""

import contextlib
import fcntl
import os
import select
import socket
import struct
from collections.abc import Iterator

import pytest

from tests.lab import diverted
from tests.lab.diverted import MARK, PRIORITY
from tests.lab.namespaces import wait_until
from tests.lab.topology import Lab, Place
from vpngate.kernel.survey.namespace import datagram
from vpngate.packets import Direction, Endpoint, HookPoint

pytestmark = pytest.mark.netns

SUBSCRIBER, PORTS = "100.64.9.2", (40_200, 50_200)
FAST, FEW = 100_000_000, 20
_SET, _TUN, _NO_INFORMATION = 0x400454CA, 1, 0x1000  # TUNSETIFF, IFF_*


@contextlib.contextmanager
def tun(lab: Lab) -> Iterator[int]:
    """A descriptor that is the wire of tun9."""

    def opened() -> int:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        named = struct.pack("16sH22x", b"tun9", _TUN | _NO_INFORMATION)
        fcntl.ioctl(descriptor, _SET, named)
        return descriptor

    if not os.path.exists("/dev/net/tun"):  # noqa: PTH110
        pytest.skip("needs /dev/net/tun")
    descriptor = lab.gateway.call(opened)
    try:
        lab.gateway.ip("addr add 100.64.9.1/24 dev tun9", "link set tun9 up")
        yield descriptor
    finally:
        os.close(descriptor)


def read_all(descriptor: int) -> list[bytes]:
    """What leaves by the interface, until nothing does for a second; IPv4 alone."""
    found = []
    while select.select([descriptor], [], [], 1.0)[0]:
        packet = os.read(descriptor, 65535)
        if packet[0] >> 4 == 4:
            found.append(packet)
    return found


def summed(packet: bytes) -> bytes:
    """The packet with the checksum of its header: who forwards it looks at that."""
    total = sum(struct.unpack("!10H", packet[:20]))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return packet[:10] + struct.pack("!H", total ^ 0xFFFF) + packet[12:]


def test_packets_without_a_link_header_come_back_as_they_went(lab: Lab) -> None:
    far = Place(lab.stranger.namespace, lab.stranger.ipv4)
    near, remote = (
        Endpoint(socket.inet_aton(address), port)
        for address, port in zip((SUBSCRIBER, far.address), PORTS, strict=True)
    )

    def scenario(wire: int) -> None:
        with (
            diverted.pairs(FAST) as made,
            diverted.bound(far, PORTS[1]) as server,
        ):
            made.stand_at("tun9", header=False)
            made.divert(1, *PORTS)
            sent = [bytes([number]) * 1000 for number in range(FEW)]
            for payload in sent:
                os.write(wire, summed(datagram(near, remote, payload)))
            assert [server.recv(2000) for _ in sent] == sent
            for payload in sent:
                server.sendto(payload, (SUBSCRIBER, PORTS[0]))
            came = read_all(wire)
            assert [packet[28:] for packet in came] == sent
            assert all(packet[0] == 0x45 for packet in came)
            for hook in HookPoint:
                wait_until(lambda hook=hook: made.met(hook).back == FEW, "all of them")  # type: ignore[misc]
                met = made.met(hook)
                assert (met.sent, met.time, met.tag) == (FEW, 0, 0)
                assert (met.mark, met.priority) == (MARK[hook], PRIORITY[hook])
                assert met.length == 1028
            made.classes.take(0)
            passed = made.classes.passed()
            assert [passed[way].packets for way in Direction] == [FEW, FEW]

    with tun(lab) as wire:
        lab.gateway.call(lambda: scenario(wire))
