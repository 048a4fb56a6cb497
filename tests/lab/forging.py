# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets in somebody else's name.

Knows how to write a whole frame, with checksums that hold, and to send it from any
host of the lab whatever addresses it carries; does not know what the packets say.
"""

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from tests.lab.namespaces import Namespace
from tests.lab.topology import Host
from tests.planes import PLANE
from vpngate.config import Plane
from vpngate.packets import Transport

BROADCAST = "ff:ff:ff:ff:ff:ff"
_PAUSE = 0.02  # seconds between two packets, so that they arrive in order
_COUNTER = re.compile(r"packets (\d+)")


class Flow(NamedTuple):
    """A victim's flow: its addresses, and the port of either end."""

    client: str
    server: str
    client_port: int
    server_port: int
    transport: Transport

    @property
    def version(self) -> int:
        return 6 if ":" in self.client else 4

    def packet(self, payload: bytes, *, back: bool) -> bytes:
        """The flow's packet with this payload, from its IP header on."""
        near, far = (self.client, self.client_port), (self.server, self.server_port)
        source, target = (far, near) if back else (near, far)
        network = IPv6 if self.version == 6 else IP
        if self.transport is Transport.UDP:
            segment = UDP(sport=source[1], dport=target[1])
        else:
            segment = TCP(sport=source[1], dport=target[1], flags="PA", seq=1, ack=1)
        return bytes(network(src=source[0], dst=target[0]) / segment / payload)


@dataclass(frozen=True)
class Mouth:
    """A host that sends frames as they are, to the station with the address `to`."""

    _socket: socket.socket
    _own: str
    to: str

    def send(self, packet: bytes) -> None:
        kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
        frame = bytes(Ether(src=self._own, dst=self.to, type=kind)) + packet
        self._socket.send(frame)


@contextlib.contextmanager
def mouth(host: Host, to: str | None = None) -> Iterator[Mouth]:
    """The mouth of a host, which speaks to its gateway, or to whom it is told."""

    def opened() -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sock.bind(("eth0", 0))
        return sock

    with host.namespace.call(opened) as sock:
        yield Mouth(sock, host.mac, to or host.next_hop)


def tell(speaker: Mouth, flow: Flow, payload: bytes, *, back: bool) -> None:
    """Say something in a flow's name, of its server's if `back`; and then a pause."""
    speaker.send(flow.packet(payload, back=back))
    time.sleep(_PAUSE)


# Before every chain of vpngate's; programs have no interface with a chain at ingress.
FAMILY, HOOK = {
    Plane.NFTABLES: (
        "netdev",
        'type filter hook ingress device "{device}" priority -300;',
    ),
    Plane.EBPF: (
        "inet",
        'type filter hook prerouting priority -300; iifname "{device}"',
    ),
}[PLANE]


class Watch:
    """Counts in the kernel what somebody sends to the gateway by `device`."""

    def __init__(self, gateway: Namespace, device: str) -> None:
        self._gateway = gateway
        self.table = f"seen_{device}"

    def count(self) -> int:
        listed = self._gateway.run("nft", "list", "table", FAMILY, self.table)
        return sum(map(int, _COUNTER.findall(listed)))


@contextlib.contextmanager
def watching(
    gateway: Namespace, device: str, sender: Host, flow: Flow
) -> Iterator[Watch]:
    """A watch for the sender's packets whose source is one of the flow's addresses.

    It stands before every chain of vpngate's at that hook.
    """
    made = Watch(gateway, device)
    family = "ip6" if flow.version == 6 else "ip"
    theirs = f"{family} saddr {{ {flow.client}, {flow.server} }}"
    gateway.run(
        *("nft", "-f", "-"),
        stdin=f"""table {FAMILY} {made.table} {{
            chain seen {{
                {HOOK.format(device=device)}
                ether saddr {sender.mac} {theirs} meta l4proto {{ tcp, udp }} counter
            }}
        }}""",
    )
    try:
        yield made
    finally:
        gateway.run("nft", "delete", "table", FAMILY, made.table)
