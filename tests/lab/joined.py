# SPDX-License-Identifier: GPL-2.0-or-later
"""UDP datagrams that the kernel keeps joined on their way (UDP_SEGMENT), at a rate.

Knows how they are sent from a namespace, and how its link keeps them joined; does not
know what becomes of them: whoever receives them is asked, or the kernel.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

from tests.lab.namespaces import Namespace

SEGMENT = 1200  # bytes of payload
_SOL_UDP, _UDP_SEGMENT = 17, 103
_OFFLOADS = ("tso", "gso", "gro", "tx", "tx-udp-segmentation")


def offloads(*ends: tuple[Namespace, str], on: bool) -> None:
    """Have both ends of a wire hand on what is joined, or split it."""
    for namespace, device in ends:
        for name in _OFFLOADS:
            state = "on" if on else "off"
            namespace.run("ethtool", "-K", device, name, state, check=False)


def send(
    source: tuple[str, int],
    target: tuple[str, int],
    *,
    rate: float,
    segments: int,
    over: threading.Event,
) -> None:
    """Send at `rate` bit/s, `segments` datagrams joined to one, until it is over."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(source)
        sender.connect(target)
        if segments > 1:
            sender.setsockopt(_SOL_UDP, _UDP_SEGMENT, SEGMENT)
        data = bytes(segments * SEGMENT)
        due = time.monotonic()
        while not over.is_set():
            with contextlib.suppress(ConnectionRefusedError):
                sender.send(data)
            due = max(due + len(data) * 8 / rate, time.monotonic() - 0.1)
            over.wait(max(due - time.monotonic(), 0))


@contextlib.contextmanager
def sending(
    namespace: Namespace,
    source: tuple[str, int],
    target: tuple[str, int],
    *,
    rate: float,
    segments: int = 1,
) -> Iterator[None]:
    """The same from a namespace, for the length of a with block."""
    over = threading.Event()

    def body() -> None:
        namespace.call(
            lambda: send(source, target, rate=rate, segments=segments, over=over)
        )

    thread = threading.Thread(target=body)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
