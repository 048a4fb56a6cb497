# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbered streams that a wrong verdict stands against, and what the kernel spares.

Knows how to send them, how a verdict names them, and how to ask the kernel for the
interval of spared addresses around one; does not know who is registered.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from tests.lab import bpf_daemon, load
from tests.lab.daemon import Daemon
from tests.lab.load import Arrivals, Stream
from tests.lab.namespaces import LabError, Namespace
from tests.lab.topology import Place
from tests.planes import PLANE
from vpngate.config import Plane

_ATTEMPTS = 20  # a change that cuts nft short is over in milliseconds
_ANSWER = 60.0  # seconds: a machine may be busy with other things
_ELEMENTS = re.compile(r"elements = \{(.*?)\}", re.DOTALL)


@dataclass(frozen=True)
class Probe:
    """A stream between a subscriber and the world, in one direction."""

    subscriber: Place
    remote: Place
    upload: bool
    port: int  # of both ends

    @property
    def ends(self) -> list[list[Any]]:
        """How the harness is told of the flow: subscriber, then remote."""
        return [[end.address, self.port] for end in (self.subscriber, self.remote)]

    @contextlib.contextmanager
    def sending(self, rate: float, size: int) -> Iterator[Stream]:
        """The stream, for the length of a with block."""
        way = (self.subscriber, self.remote)
        sender, receiver = way if self.upload else way[::-1]
        with load.stream(
            sender, receiver, rate=rate, size=size, both_ports=self.port
        ) as stream:
            yield stream


def stop_all(streams: Sequence[Stream]) -> list[Arrivals]:
    """End streams at the same time."""
    with ThreadPoolExecutor(len(streams)) as pool:
        return list(pool.map(Stream.stop, streams))


class Interval(NamedTuple):
    """First and last address, as numbers."""

    first: int
    last: int


def spared_around(
    running: Daemon, version: int, addresses: Sequence[str]
) -> list[Interval]:
    """The intervals of the kernel's set that hold these addresses, in order.

    Asked of the kernel, by nft(8) or in programs' maps, not of the daemon. An address
    that is not spared is an error.
    """
    if PLANE is Plane.EBPF:
        found = {bpf_daemon.around(running.process.pid, one) for one in addresses}
        return sorted(Interval(*one) for one in found)
    name = f"spared_ipv{version}_1"
    wanted = f"{{ {', '.join(addresses)} }}"
    question = ("get", "element", "netdev", "vpngate", name, wanted)
    answer = _asked(running.namespace, *question)
    told = _ELEMENTS.search(answer)
    if told is None:
        raise LabError(f"nft tells no elements: {answer}")
    return sorted(_interval(text.strip()) for text in told[1].split(","))


def _asked(gateway: Namespace, *question: str) -> str:
    """What nft says, as text: 1.0.6 answers in no other form.

    It looks at the whole ruleset first, and gives up if that changes meanwhile.
    """
    for _ in range(_ATTEMPTS):
        try:
            return gateway.run("nft", *question, timeout=_ANSWER)
        except LabError as error:
            if "Interrupted system call" not in str(error):
                raise
            interrupted = error
    raise interrupted


def _interval(text: str) -> Interval:
    """An address, a prefix, or two addresses with a dash between."""
    first, dash, last = text.partition("-")
    if dash:
        return Interval(int(ip_address(first)), int(ip_address(last)))
    network = ip_network(text)
    return Interval(int(network[0]), int(network[-1]))
