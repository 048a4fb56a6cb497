# SPDX-License-Identifier: GPL-2.0-or-later
"""NFLOG copies from a live kernel: hooks, link headers, losses, refusals.

namespace "host"             namespace "gateway"
  veth host0 ───────────────── veth gate0    nft: ingress and egress → log group
  10.77.0.1, fd77::1           10.77.0.2, fd77::2
                               tun  gate1    (no link header at egress)
"""

import fcntl
import os
import secrets
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from pyroute2 import netns

from vpngate.capture.nflog import NflogCapture
from vpngate.capture.source import Captured
from vpngate.errors import GroupTaken
from vpngate.packets import Transport, parse_address

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

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
Result = TypeVar("Result")


def ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True)


@dataclass
class Lab:
    host: str
    gateway: str
    in_host: ThreadPoolExecutor
    in_gateway: ThreadPoolExecutor

    def at_host(self, act: Callable[[], Result]) -> Result:
        return self.in_host.submit(act).result(timeout=60)

    def at_gateway(self, act: Callable[[], Result]) -> Result:
        return self.in_gateway.submit(act).result(timeout=60)

    def copy_udp_of(self, device: str) -> None:
        subprocess.run(
            ["ip", "netns", "exec", self.gateway, "nft", "-f", "-"],
            input=RULES.format(device=device, group=GROUP).encode(),
            check=True,
        )


@pytest.fixture
def lab() -> Iterator[Lab]:
    tag = secrets.token_hex(4)
    host, gateway = f"vgnl-{tag}-h", f"vgnl-{tag}-g"
    try:
        for name in (host, gateway):
            ip(f"netns add {name}")
            ip(f"-n {name} link set lo up")
        ip(f"-n {host} link add host0 type veth peer name gate0 netns {gateway}")
        for name, device, end in ((host, "host0", 1), (gateway, "gate0", 2)):
            ip(f"-n {name} addr add 10.77.0.{end}/24 dev {device}")
            ip(f"-n {name} addr add fd77::{end}/64 dev {device} nodad")
            ip(f"-n {name} link set {device} up")
        with (
            ThreadPoolExecutor(1, initializer=netns.setns, initargs=(host,)) as one,
            ThreadPoolExecutor(1, initializer=netns.setns, initargs=(gateway,)) as two,
        ):
            yield Lab(host, gateway, one, two)
    finally:
        for name in (host, gateway):
            subprocess.run(["ip", "netns", "del", name], check=False)


def send(address: str, port: int, payloads: list[bytes]) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        for payload in payloads:
            sender.sendto(payload, (address, port))


def collect(capture: NflogCapture, count: int) -> list[Captured]:
    captured: list[Captured] = []
    deadline = time.monotonic() + 10
    while len(captured) < count and time.monotonic() < deadline:
        if select.select([capture], [], [], 0.2)[0]:
            captured += capture.receive()
    return captured


@pytest.mark.parametrize(
    ("host", "gateway"), [("10.77.0.1", "10.77.0.2"), ("fd77::1", "fd77::2")]
)
def test_both_hooks_hand_over_the_same_packet(
    lab: Lab, host: str, gateway: str
) -> None:
    lab.copy_udp_of("gate0")
    with lab.at_gateway(lambda: NflogCapture(GROUP)) as capture:
        index = lab.at_gateway(lambda: socket.if_nametoindex("gate0"))
        before = time.time()
        lab.at_host(lambda: send(gateway, 7001, [b"up" * 50]))
        (upload,) = collect(capture, 1)
        lab.at_gateway(lambda: send(host, 7002, [b"down" * 30]))
        (download,) = collect(capture, 1)
        assert capture.losses == {"overrun": 0, "gap": 0}
    assert (upload.ingress, download.ingress) == (True, False)
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


def test_a_tun_device_hands_over_no_link_header(lab: Lab) -> None:
    def make_tun() -> int:
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        tunsetiff, iff_tun_no_pi = 0x400454CA, 0x1001
        fcntl.ioctl(tun, tunsetiff, struct.pack("=16sH22x", b"gate1", iff_tun_no_pi))
        return tun

    tun = lab.at_gateway(make_tun)
    try:
        ip(f"-n {lab.gateway} addr add 10.78.0.2/24 dev gate1")
        ip(f"-n {lab.gateway} link set gate1 up")
        lab.copy_udp_of("gate1")
        with lab.at_gateway(lambda: NflogCapture(GROUP)) as capture:
            lab.at_gateway(lambda: send("10.78.0.9", 7003, [b"through a tun"]))
            (out,) = collect(capture, 1)
            came = bytes.fromhex("45000023000100004011ffff0a4e00090a4e0002")
            os.write(tun, came + struct.pack(">HHHH", 9, 7004, 15, 0) + b"payload")
            (back,) = collect(capture, 1)
    finally:
        os.close(tun)
    assert not out.ingress
    assert out.packet.destination == (parse_address("10.78.0.9"), 7003)
    assert out.packet.payload == b"through a tun"
    assert back.ingress
    assert back.packet.destination == (parse_address("10.78.0.2"), 7004)
    assert back.packet.payload == b"payload"


def test_every_packet_of_a_burst_arrives(lab: Lab) -> None:
    lab.copy_udp_of("gate0")
    payloads = [struct.pack(">I", number) * 40 for number in range(3000)]
    with lab.at_gateway(lambda: NflogCapture(GROUP)) as capture:
        lab.at_host(lambda: send("10.77.0.2", 7001, payloads))
        captured = collect(capture, len(payloads))
        assert capture.losses == {"overrun": 0, "gap": 0}
    assert [one.packet.payload for one in captured] == payloads


def test_losses_are_counted_both_ways(lab: Lab) -> None:
    lab.copy_udp_of("gate0")
    count = 4000
    with lab.at_gateway(lambda: NflogCapture(GROUP, buffer_bytes=64 << 10)) as capture:
        lab.at_host(lambda: send("10.77.0.2", 7001, [b"x" * 1200] * count))
        received = 0
        while select.select([capture], [], [], 0.5)[0]:
            received += len(capture.receive())
        # A last packet, after the buffer has been emptied, shows the gap before it.
        lab.at_host(lambda: send("10.77.0.2", 7001, [b"last"]))
        last = collect(capture, 1)
        losses = capture.losses
    assert last[-1].packet.payload == b"last"
    assert losses["overrun"] > 0
    assert losses["gap"] == count + 1 - received - len(last)


def test_a_group_in_use_is_refused_in_one_line(lab: Lab) -> None:
    with (
        lab.at_gateway(lambda: NflogCapture(GROUP)),
        pytest.raises(GroupTaken, match=r"another process reads it; .*nflog_group"),
    ):
        lab.at_gateway(lambda: NflogCapture(GROUP))
    lab.at_gateway(lambda: NflogCapture(GROUP)).close()


def test_without_privilege_the_missing_capability_is_named(lab: Lab) -> None:
    attempt = (
        "from vpngate.capture.nflog import NflogCapture\n"
        "from vpngate.errors import MissingPrivilege\n"
        "try: NflogCapture(1)\n"
        "except MissingPrivilege as error: print(error)\n"
    )
    enter = ["ip", "netns", "exec", lab.gateway]
    without = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-all"]
    done = subprocess.run(
        [*enter, *without, sys.executable, "-c", attempt],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "NFLOG group 1: not permitted; it needs CAP_NET_ADMIN"
    ]
