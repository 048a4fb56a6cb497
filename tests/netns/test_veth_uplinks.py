# SPDX-License-Identifier: GPL-2.0-or-later
"""A flow keeps its uplink as it is slowed, where the gateway chooses one by ports."""

import contextlib
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping

import pytest

from tests.lab import diverted
from tests.lab.topology import Lab
from vpngate.packets import HookPoint

pytestmark = pytest.mark.netns

FAST = 100_000_000
UPLINKS = ("up0", "up1")
PORTS = range(41_000, 41_024)
_BEHIND = {4: ("192.0.2.0/24", "192.0.2.9"), 6: ("2001:db8:c::/48", "2001:db8:c::9")}
_HOP = {4: "192.0.2.1", 6: "fe80::1"}  # whom no packet is addressed to: ARP is off
_ANY = 0x0003  # ETH_P_ALL
_UDP_AT = {4: 14 + 20, 6: 14 + 40}  # in a frame


@contextlib.contextmanager
def more_uplinks(lab: Lab, version: int) -> Iterator[None]:
    """Two more, and a network behind both of them."""
    lab.gateway.sysctl(f"net.ipv{version}.fib_multipath_hash_policy", 1)
    with contextlib.ExitStack() as stack:
        for name in UPLINKS:
            lab.gateway.ip(f"link add {name} type veth peer name far-{name}")
            stack.callback(lab.gateway.ip, f"link del {name}")
            lab.gateway.ip(f"link set far-{name} up", f"link set {name} arp off up")
        hops = " ".join(f"nexthop via {_HOP[version]} dev {name}" for name in UPLINKS)
        onlink = hops.replace(" nexthop", " onlink nexthop") + " onlink"
        lab.gateway.ip(f"route add {_BEHIND[version][0]} {onlink}")
        yield


def listening(name: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ANY))
    made.bind((name, 0))
    made.settimeout(0.5)
    return made


def left_by(
    uplinks: Mapping[str, socket.socket],
    senders: Iterable[socket.socket],
    target: tuple[str, int],
) -> dict[int, str]:
    """By which uplink a packet of each flow leaves: by its source port."""
    for sender in senders:
        sender.sendto(b"?" * 20, target)
    at = _UDP_AT[6 if ":" in target[0] else 4]
    found: dict[int, str] = {}
    for name, uplink in uplinks.items():
        with contextlib.suppress(TimeoutError):
            while True:
                frame, told = uplink.recvfrom(2000)
                source, destination = struct.unpack_from("!HH", frame, at)
                if told[2] == socket.PACKET_OUTGOING and destination == target[1]:
                    found[source] = name
    return found


@pytest.mark.parametrize("numbered", [True, False], ids=["numbered", "not numbered"])
@pytest.mark.parametrize("version", [4, 6])
def test_a_flow_keeps_its_uplink(lab: Lab, version: int, *, numbered: bool) -> None:
    """Whether or not packets come with a number of their flow, as of many cards."""
    near, target = lab.client.at(version), (_BEHIND[version][1], 50_100)

    def scenario() -> None:
        with contextlib.ExitStack() as stack:
            made = stack.enter_context(diverted.pairs(FAST))
            made.stand_at("lan0")
            senders = [
                stack.enter_context(diverted.bound(near, port)) for port in PORTS
            ]
            if numbered:  # by the kernel: a socket that is connected has a number
                for sender in senders:
                    sender.connect(target)
            ends = {name: stack.enter_context(listening(name)) for name in UPLINKS}
            before = left_by(ends, senders, target)
            assert set(before) == set(PORTS)
            assert set(before.values()) == set(UPLINKS)
            for port in PORTS:
                made.divert(1, port, target[1])
            assert left_by(ends, senders, target) == before
            assert made.met(HookPoint.INGRESS).sent == len(PORTS)

    # To label a flow of IPv6 the sender's kernel numbers it.
    labels = "net.ipv6.auto_flowlabels"
    lab.client.namespace.sysctl(labels, int(numbered))
    try:
        with more_uplinks(lab, version):
            lab.gateway.call(scenario, with_sys=True)
    finally:
        lab.client.namespace.sysctl(labels, 1)
