# SPDX-License-Identifier: GPL-2.0-or-later
"""Two namespaces and a wire, for tests of what captures packets.

    host                          gateway
      eth0 ───────── veth ───────── gate0
      10.77.0.1, fd77::1            10.77.0.2, fd77::2

Knows how to send on the wire and to wait for what is captured there; does not know
how it is captured.
"""

import contextlib
import select
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lab.namespaces import Namespace
from vpngate.capture.source import Captured, Source


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
        host.ip(f"link add eth0 type veth peer name gate0 netns {gateway.path}")
        for namespace, device, end in ((host, "eth0", 1), (gateway, "gate0", 2)):
            namespace.ip(
                f"addr add 10.77.0.{end}/24 dev {device}",
                f"addr add fd77::{end}/64 dev {device} nodad",
                f"link set {device} up",
            )
        yield Wire(host, gateway)


def send(address: str, port: int, payloads: list[bytes]) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        for payload in payloads:
            sender.sendto(payload, (address, port))


def is_readable(source: Source, timeout: float) -> bool:
    return bool(select.select([source], [], [], timeout)[0])


def collect(source: Source, count: int) -> list[Captured]:
    """What is captured, until there are so many packets or ten seconds have gone."""
    captured: list[Captured] = []
    deadline = time.monotonic() + 10
    while len(captured) < count and time.monotonic() < deadline:
        if is_readable(source, 0.2):
            captured += source.receive()
    return captured
