# SPDX-License-Identifier: GPL-2.0-or-later
"""Complete handshakes, so many a second, of tunnels that nobody has registered.

    client ─ lan0 ─ gateway ─ wan1 ─ stranger

Knows how each is made and sent, by many subscribers and to many servers, no flow twice;
does not know what comes of it.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Self

from tests.lab import forging, handshakes
from tests.lab.forging import Flow, Mouth
from tests.lab.topology import Lab
from vpngate.packets import Transport

_SUBSCRIBERS = 64
_SERVERS = 16
_FIRST = 100  # the last number of an address, of the first of each
_PORTS = range(10_000, 20_000)
_MOST_LATE = 1.0  # seconds; who was not scheduled for longer does not catch up


class Callers:
    """Handshakes under way; `sent` are those that are complete."""

    def __init__(self, lab: Lab, near: Mouth, far: Mouth, rate: float) -> None:
        self.sent = 0
        self._near, self._far, self._rate = near, far, rate
        self._clients, self._servers = _addresses(lab)
        self._ends = itertools.product(_PORTS, self._servers, self._clients)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._call)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _call(self) -> None:
        due = time.monotonic()
        for port, server, client in self._ends:
            flow = Flow(client, server, port, 51_820, Transport.UDP)
            opening = handshakes.wireguard()
            self._near.send(flow.packet(opening.request, back=False))
            answer = flow.packet(opening.answer, back=True)
            due = max(due + 1 / self._rate, time.monotonic() - _MOST_LATE)
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            self._far.send(answer)
            self.sent += 1


def _addresses(lab: Lab) -> tuple[list[str], list[str]]:
    """Of subscribers, and of servers."""
    near, far = (one.ipv4.rpartition(".")[0] for one in (lab.client, lab.stranger))
    return (
        [f"{near}.{_FIRST + number}" for number in range(_SUBSCRIBERS)],
        [f"{far}.{_FIRST + number}" for number in range(_SERVERS)],
    )


@contextlib.contextmanager
def calling(lab: Lab, rate: float) -> Iterator[Callers]:
    """So many handshakes a second, for the length of a with block."""
    clients, servers = _addresses(lab)
    for host, device, addresses in (
        (lab.client, "lan0", clients),
        (lab.stranger, "wan1", servers),
    ):
        lab.gateway.ip(
            *(
                f"neigh replace {one} lladdr {host.mac} dev {device}"
                for one in addresses
            )
        )
    with (
        forging.mouth(lab.client) as near,
        forging.mouth(lab.stranger) as far,
        Callers(lab, near, far, rate) as callers,
    ):
        yield callers
