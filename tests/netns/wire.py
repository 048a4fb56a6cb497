# SPDX-License-Identifier: GPL-2.0-or-later
"""Two namespaces and a wire, for tests of what captures packets.

    host                          gateway
      eth0 ───────── veth ───────── gate0
      10.77.0.1, fd77::1            10.77.0.2, fd77::2

Knows how to send on the wire and to wait for what is captured there or heard; does
not know how it is captured, or what stands between the ends.
"""

import contextlib
import select
import socket
import struct
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.lab.namespaces import PATIENCE, Namespace, settle
from vpngate.capture.live.source import Captured, PacketSource
from vpngate.packets import Endpoint, Family, Transport

_SO_RCVBUFFORCE = 33
_ROOM = 64 << 20  # bytes: nothing that is sent to be heard may be lost
_MACS = bytes.fromhex("020000000002020000000001")
_SIGN = b"heed"  # begins a payload that carries a number
_NUMBER = struct.Struct(">4sI")


@dataclass
class Wire:
    host: Namespace
    gateway: Namespace


@contextlib.contextmanager
def build() -> Iterator[Wire]:
    with contextlib.ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory()))
        host = Namespace("host", folder)
        undo.callback(host.close)
        gateway = Namespace("gateway", folder)
        undo.callback(gateway.close)
        for namespace in (host, gateway):
            namespace.sysctl("net.ipv6.conf.default.accept_dad", 0)
        host.ip(f"link add eth0 type veth peer name gate0 netns {gateway.path}")
        for namespace, device, end in ((host, "eth0", 1), (gateway, "gate0", 2)):
            namespace.ip(
                f"addr add 10.77.0.{end}/24 dev {device}",
                f"addr add fd77::{end}/64 dev {device} nodad",
                f"link set {device} up",
            )
        settle(host, gateway)
        yield Wire(host, gateway)


def send(address: str, port: int, payloads: list[bytes]) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        for payload in payloads:
            sender.sendto(payload, (address, port))


def is_readable(source: PacketSource, timeout: float) -> bool:
    return bool(select.select([source], [], [], timeout)[0])


def collect(source: PacketSource, count: int) -> list[Captured]:
    """What is captured, until there are so many packets or patience is at its end."""
    captured: list[Captured] = []
    deadline = time.monotonic() + PATIENCE
    while len(captured) < count and time.monotonic() < deadline:
        if is_readable(source, 0.2):
            captured += source.receive()
    return captured


def mouth(namespace: Namespace, device: str) -> socket.socket:
    """A socket that sends frames as they are."""

    def opened() -> socket.socket:
        speaking = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        speaking.bind((device, 0))
        return speaking

    return namespace.call(opened)


def datagram(source: Endpoint, destination: Endpoint, number: int) -> bytes:
    """A frame with a UDP datagram that carries a number.

    Without checksums: what only wants the headers takes it, an IP stack does not.
    """
    payload = _NUMBER.pack(_SIGN, number)
    segment = struct.pack(">4H", source.port, destination.port, 8 + len(payload), 0)
    segment += payload
    ends = source.address + destination.address
    if source.family is Family.IPV4:
        head = struct.pack(">HHIBBH", 0x4500, 20 + len(segment), 0, 64, 17, 0)
        return _MACS + b"\x08\x00" + head + ends + segment
    head = struct.pack(">IHBB", 0x60000000, len(segment), 17, 64)
    return _MACS + b"\x86\xdd" + head + ends + segment


class Ear:
    """Hears the numbers of datagrams that pass a device.

    `protocol` is an EtherType. The kernel hands such packets over behind the ingress
    hooks; with ETH_P_ALL (3) before them, and what goes out, too.
    """

    def __init__(self, namespace: Namespace, device: str, protocol: int) -> None:
        def opened() -> socket.socket:
            listening = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
            listening.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
            listening.bind((device, protocol))
            listening.setblocking(False)
            return listening

        self._socket = namespace.call(opened)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def heard(self) -> list[int]:
        """The numbers that wait to be heard."""
        numbers: list[int] = []
        while True:
            try:
                packet = self._socket.recv(2048)
            except BlockingIOError:
                return numbers
            number = _number_in(packet)
            if number is not None:
                numbers.append(number)

    def hear(self, count: int) -> list[int]:
        """So many numbers, or what has come when patience is at its end."""
        numbers = self.heard()
        deadline = time.monotonic() + PATIENCE
        while len(numbers) < count and time.monotonic() < deadline:
            select.select([self._socket], [], [], 0.2)
            numbers += self.heard()
        return numbers


def _number_in(packet: bytes) -> int | None:
    at, protocol = (28, 9) if packet[0] >> 4 == Family.IPV4 else (48, 6)
    if len(packet) < at + _NUMBER.size or packet[protocol] != Transport.UDP:
        return None
    sign, number = _NUMBER.unpack_from(packet, at)
    return int(number) if sign == _SIGN else None
