# SPDX-License-Identifier: GPL-2.0-or-later
"""Datagrams that many subscribers behind one wire send, in large pieces.

Knows how one host comes by many addresses, and how to send from all of them at a
bounded rate; does not know what becomes of it. Interfaces take pieces of 30 kB, so that
a gigabit a second is a few thousand packets.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.lab.topology import Host, Lab

MTU = 30_000
PORT = 40_000  # of all senders
SINK = 9  # discard (RFC 863)
_PAYLOAD = bytes(MTU - 28)
_LEAST_PAUSE = 0.002
AFTER = 6.0  # seconds: longer than a change of whom is spared keeps a witness silent


class Sender(NamedTuple):
    """An address of a subscriber, and the socket it sends by."""

    address: str
    socket: socket.socket


def widen(lab: Lab) -> None:
    """Have the wires of client, member and stranger take large packets."""
    for host in (lab.client, lab.member, lab.stranger):
        host.namespace.ip(f"link set eth0 mtu {MTU}")
    for port in ("lan0", "wan0", "wan1"):
        lab.gateway.ip(f"link set {port} mtu {MTU}")


def settle_down(host: Host, count: int) -> list[str]:
    """Give a host so many addresses, its own being the first of them."""
    network, _, own = host.ipv4.rpartition(".")
    addresses = [f"{network}.{int(own) + number}" for number in range(count)]
    host.namespace.ip(
        *(f"addr replace {address}/24 dev eth0" for address in addresses[1:])
    )
    return addresses


@contextlib.contextmanager
def senders(host: Host, addresses: Sequence[str]) -> Iterator[list[Sender]]:
    """A socket bound to each address."""

    def opened() -> list[Sender]:
        made = []
        for address in addresses:
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
            one.bind((address, PORT))
            made.append(Sender(address, one))
        return made

    made = host.namespace.call(opened)
    try:
        yield made
    finally:
        for sender in made:
            sender.socket.close()


def send(sender: Sender, target: str, count: int = 1, size: int = 200) -> None:
    """A few datagrams, one behind the other."""
    for _ in range(count):
        sender.socket.sendto(_PAYLOAD[:size], (target, SINK))


@contextlib.contextmanager
def load(
    made: Sequence[Sender], target: str, rate: float, size: int = len(_PAYLOAD)
) -> Iterator[None]:
    """All of them send in turn, at most `rate` bit/s together."""
    stop = threading.Event()

    def work() -> None:
        begin, sent = time.monotonic(), 0
        while not stop.is_set():
            for sender in made:
                with contextlib.suppress(OSError):  # a full queue: that one is lost
                    sender.socket.sendto(_PAYLOAD[:size], (target, SINK))
            sent += len(made) * size * 8
            ahead = sent / rate - (time.monotonic() - begin)
            stop.wait(max(_LEAST_PAUSE, ahead))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
