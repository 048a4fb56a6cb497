# SPDX-License-Identifier: GPL-2.0-or-later
"""NFLOG copies from a live kernel: hooks, link headers, losses, refusals.

The wire is drawn in `wire.py`.
"""

import fcntl
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.wire import Wire, build, collect, is_readable, send
from vpngate.capture.live.nflog import NflogCapture
from vpngate.errors import GroupTaken
from vpngate.packets import HookPoint, Transport, parse_address

GROUP = 4077
RULES = """
table netdev copies {{
  chain in {{
    type filter hook ingress device "{device}" priority 0;
    udp dport 7000-7999 log group {group}
  }}
  chain out {{
    type filter hook egress device "{device}" priority 0;
    udp dport 7000-7999 log group {group}
  }}
}}
"""


@pytest.fixture
def wire() -> Iterator[Wire]:
    with build() as built:
        yield built


def copy_udp_of(wire: Wire, device: str) -> None:
    wire.gateway.run("nft", "-f", "-", stdin=RULES.format(device=device, group=GROUP))


@pytest.mark.parametrize(
    ("host", "gateway"), [("10.77.0.1", "10.77.0.2"), ("fd77::1", "fd77::2")]
)
def test_both_hooks_hand_over_the_same_packet(
    wire: Wire, host: str, gateway: str
) -> None:
    copy_udp_of(wire, "gate0")
    with wire.gateway.call(lambda: NflogCapture(GROUP)) as capture:
        index = wire.gateway.call(lambda: socket.if_nametoindex("gate0"))
        before = time.time()
        wire.host.call(lambda: send(gateway, 7001, [b"up" * 50]))
        (upload,) = collect(capture, 1)
        wire.gateway.call(lambda: send(host, 7002, [b"down" * 30]))
        (download,) = collect(capture, 1)
        assert capture.losses == {"overrun": 0, "gap": 0}
    assert (upload.hook, download.hook) == (HookPoint.INGRESS, HookPoint.EGRESS)
    assert upload.ifindex == download.ifindex == index
    assert before - 1 < upload.timestamp <= download.timestamp <= time.time() + 1
    assert upload.packet.transport is Transport.UDP
    assert upload.packet.source.address == parse_address(host)
    assert upload.packet.destination == (parse_address(gateway), 7001)
    assert upload.packet.payload == b"up" * 50
    assert not upload.packet.truncated
    assert download.packet.source.address == parse_address(gateway)
    assert download.packet.destination == (parse_address(host), 7002)
    assert download.packet.payload == b"down" * 30


def test_a_tun_device_hands_over_no_link_header(wire: Wire) -> None:
    def make_tun() -> int:
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        tunsetiff, iff_tun_no_pi = 0x400454CA, 0x1001
        fcntl.ioctl(tun, tunsetiff, struct.pack("=16sH22x", b"gate1", iff_tun_no_pi))
        return tun

    tun = wire.gateway.call(make_tun)
    try:
        wire.gateway.ip("addr add 10.78.0.2/24 dev gate1", "link set gate1 up")
        copy_udp_of(wire, "gate1")
        with wire.gateway.call(lambda: NflogCapture(GROUP)) as capture:
            wire.gateway.call(lambda: send("10.78.0.9", 7003, [b"through a tun"]))
            (out,) = collect(capture, 1)
            came = bytes.fromhex("45000023000100004011ffff0a4e00090a4e0002")
            short = came[:3] + bytes([25]) + came[4:]
            os.write(tun, short + struct.pack(">HHB", 9, 7004, 0))  # UDP cut short
            os.write(tun, came + struct.pack(">HHHH", 9, 7004, 15, 0) + b"payload")
            (back,) = collect(capture, 1)
            assert capture.read == 3, "what cannot be decoded was read all the same"
    finally:
        os.close(tun)
    assert out.hook is HookPoint.EGRESS
    assert out.packet.destination == (parse_address("10.78.0.9"), 7003)
    assert out.packet.payload == b"through a tun"
    assert back.hook is HookPoint.INGRESS
    assert back.packet.destination == (parse_address("10.78.0.2"), 7004)
    assert back.packet.payload == b"payload"


def test_every_packet_of_a_burst_arrives(wire: Wire) -> None:
    copy_udp_of(wire, "gate0")
    payloads = [struct.pack(">I", number) * 40 for number in range(3000)]
    with wire.gateway.call(lambda: NflogCapture(GROUP)) as capture:
        wire.host.call(lambda: send("10.77.0.2", 7001, payloads))
        captured = collect(capture, len(payloads))
        assert capture.losses == {"overrun": 0, "gap": 0}
    assert [one.packet.payload for one in captured] == payloads


def test_losses_are_counted_both_ways(wire: Wire) -> None:
    copy_udp_of(wire, "gate0")
    count = 4000
    with wire.gateway.call(
        lambda: NflogCapture(GROUP, buffer_bytes=64 << 10)
    ) as capture:
        wire.host.call(lambda: send("10.77.0.2", 7001, [b"x" * 1200] * count))
        received = 0
        while is_readable(capture, 0.5):
            received += len(capture.receive())
        # A last packet, after the buffer has been emptied, shows the gap before it.
        wire.host.call(lambda: send("10.77.0.2", 7001, [b"last"]))
        last = collect(capture, 1)
        losses = capture.losses
    assert last[-1].packet.payload == b"last"
    assert losses["overrun"] > 0
    assert losses["gap"] == count + 1 - received - len(last)


def test_a_group_in_use_is_refused_in_one_line(wire: Wire) -> None:
    with (
        wire.gateway.call(lambda: NflogCapture(GROUP)),
        pytest.raises(GroupTaken, match=r"another process reads it; .*nflog_group"),
    ):
        wire.gateway.call(lambda: NflogCapture(GROUP))
    wire.gateway.call(lambda: NflogCapture(GROUP)).close()


def test_without_privilege_the_missing_capability_is_named(wire: Wire) -> None:
    attempt = (
        "from vpngate.capture.live.nflog import NflogCapture\n"
        "from vpngate.errors import MissingPrivilege\n"
        "try: NflogCapture(1)\n"
        "except MissingPrivilege as error: print(error)\n"
    )
    root = Path(__file__).parents[2]
    without = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-all")
    said = wire.gateway.run(
        *without, "env", f"PYTHONPATH={root}", sys.executable, "-c", attempt
    )
    assert said.splitlines() == ["NFLOG group 1: not permitted; it needs CAP_NET_ADMIN"]
