# SPDX-License-Identifier: GPL-2.0-or-later
"""How far a verdict reaches: the tunnel whole, and nothing beside it."""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.lab import load, pptp, rates, wireguard
from tests.lab.daemon import Daemon
from tests.lab.topology import Lab, Place

_AH = 51  # IP protocol number (IANA)
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
_PACKETS = 200
_SIZE = 800  # bytes; far more than the throttle would let through at this pace
_PLAIN_GRE = struct.pack("!HH", 0, 0x0800)  # RFC 2784: no options, version 0, IPv4
_AH_HEADER = struct.pack("!BBHII", 59, 4, 0, 0x1234, 1) + bytes(12)  # RFC 4302


def _raw(own: Place, protocol: int) -> socket.socket:
    sock = own.namespace.call(
        lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)
    )
    sock.bind((own.address, 0))
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 16 << 20)
    sock.settimeout(1.0)
    return sock


def _arrived(receiver: socket.socket, start: bytes) -> int:
    """How many packets with this payload came, until a second without one."""
    count = 0
    try:
        while True:
            packet = receiver.recv(2048)
            count += packet[20:].startswith(start)  # behind an IPv4 header
    except TimeoutError:
        return count


@pytest.fixture(scope="module")
def call(lab: Lab, enforcing: Daemon) -> Iterator[pptp.Pptp]:
    """A PPTP call whose enhanced GRE has a verdict of its own."""
    with pptp.tunnel(lab.client, lab.stranger) as up:
        up.exchange(5)
        enforcing.wait_for_flow("pptp", "throttle", 2)
        yield up


def _throttled(running: Daemon) -> float:
    return running.metric("vpngate_throttled_packets_total")


def test_enhanced_gre_of_a_call_is_throttled(
    enforcing: Daemon, call: pptp.Pptp
) -> None:
    before = _throttled(enforcing)
    call.exchange(20)
    # The control connection is throttled as well: an acknowledgement may be counted.
    enforcing.wait_until(lambda: _throttled(enforcing) - before >= 40, "40 packets")


@pytest.mark.parametrize(
    ("protocol", "start"),
    [(socket.IPPROTO_GRE, _PLAIN_GRE), (_AH, _AH_HEADER)],
    ids=["plain GRE", "AH"],
)
@pytest.mark.parametrize("direction", ["upload", "download"])
def test_what_is_no_tunnel_between_the_same_hosts_is_untouched(
    lab: Lab,
    enforcing: Daemon,
    call: pptp.Pptp,  # noqa: ARG001 - there is a verdict for the same two hosts
    *,
    direction: str,
    protocol: int,
    start: bytes,
) -> None:
    ends = lab.client.at(), lab.stranger.at()
    source, target = ends if direction == "upload" else (ends[1], ends[0])
    before = _throttled(enforcing)
    with ExitStack() as stack:
        sender = stack.enter_context(_raw(source, protocol))
        receiver = stack.enter_context(_raw(target, protocol))
        for _ in range(_PACKETS):
            sender.sendto(start + bytes(_SIZE), (target.address, 0))
        assert _arrived(receiver, start) == _PACKETS
    time.sleep(0.6)  # the daemon's reading of its counters is no older
    assert _throttled(enforcing) == before


def test_a_tunnel_that_changes_its_keys_stays_throttled(
    lab: Lab, enforcing: Daemon
) -> None:
    with wireguard.tunnel(lab.client, lab.stranger) as tunnel:
        enforcing.wait_for_flow("wireguard", "throttle")
        tunnel.shake_hands()
        measured = rates.class_rates(lab, tunnel.client, tunnel.server)
    assert measured == [pytest.approx(rates.RATE, rel=rates.TOLERANCE)]


def test_other_flows_of_a_throttled_subscriber_are_untouched(
    lab: Lab, enforcing: Daemon
) -> None:
    with wireguard.tunnel(lab.client, lab.stranger) as tunnel:
        enforcing.wait_for_flow("wireguard", "throttle")
        with load.stream(tunnel.client, tunnel.server, rate=3 * rates.RATE):
            plain = load.run_stream(
                lab.client.at(), lab.stranger.at(), rate=20e6, seconds=2.0
            )
    assert plain.lost == 0
