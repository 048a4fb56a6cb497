# SPDX-License-Identifier: GPL-2.0-or-later
"""Somebody sends what is none of his: floods from nobody, and in another's name.

Knows who sends what; does not know how it is told from what it is not.
"""

import contextlib
import time
from collections.abc import Iterator

from tests.campaign.counts import Kind
from tests.campaign.fault import Cost, Fault, Parameters
from tests.campaign.world import World
from tests.lab import forging, handshakes, marked
from tests.lab.daemon import PYTHON
from tests.lab.forging import Flow
from vpngate.packets import Transport

_TARGET = "198.51.100.77"  # nobody, behind the stranger's link


@contextlib.contextmanager
def _flooded(world: World, parameters: Parameters) -> Iterator[None]:
    """Initiations, each from another subscriber who never sent it."""
    program = (*PYTHON, "-m", "tests.lab.flood")
    count = str(parameters["count"])
    world.lab.neighbour.namespace.run(*program, _TARGET, count)
    yield


@contextlib.contextmanager
def _barrage(world: World, parameters: Parameters) -> Iterator[None]:
    """One kind of message without a gap, from an insider or from outside."""
    host = getattr(world.lab, parameters["by"])
    source = parameters["source"].format(client=world.lab.client.ipv4)
    argv = (
        *(*PYTHON, "-m", "tests.lab.barrage", "steady", "eth0"),
        *(host.mac, host.next_hop, source, _TARGET),
        *(str(parameters["kind"]), "20"),
    )
    with host.namespace.running(*argv) as sending:
        sending.expect("sending")
        time.sleep(parameters["seconds"])
        yield


@contextlib.contextmanager
def _forged(world: World, parameters: Parameters) -> Iterator[None]:
    """A handshake in the name of the client's plain flow, both halves by one insider.

    If it counted, the client would be slowed.
    """
    port = world.watch.port(Kind.DATAGRAMS)
    ends = world.lab.client.ipv4, world.lab.stranger.ipv4
    flow = Flow(*ends, port, port, Transport.UDP)
    by = getattr(world.lab, parameters["by"])
    with forging.mouth(by) as speaker:
        for _ in range(parameters["times"]):
            opening = handshakes.wireguard()
            forging.tell(speaker, flow, opening.request, back=False)
            forging.tell(speaker, flow, opening.answer, back=True)
    yield


@contextlib.contextmanager
def _spoken(world: World, parameters: Parameters) -> Iterator[None]:
    """Every tunnel opened in both families, and openings that go wrong."""
    for _ in range(parameters["times"]):
        marked.speak(world.lab)
    yield


FAULTS = (
    Fault(
        "spoofed flood",
        _flooded,
        lambda random: {"count": random.choice([1000, 5000, 20_000])},
        cost=Cost.LOAD,
        weight=3,
    ),
    Fault(
        "barrage",
        _barrage,
        lambda random: {
            "by": random.choice(["neighbour", "stranger"]),
            "source": random.choice(["100.64.2.0/24", "203.0.113.0/24", "{client}"]),
            "kind": random.choice([1, 2]),
            "seconds": round(random.uniform(0.2, 1.0), 2),
        },
        cost=Cost.LOAD,
        weight=2,
    ),
    Fault(
        "forged handshake",
        _forged,
        lambda random: {
            "by": random.choice(["neighbour", "stranger", "member"]),
            "times": random.randint(1, 10),
        },
        weight=3,
    ),
    Fault(
        "every tunnel at once",
        _spoken,
        lambda random: {"times": random.randint(1, 2)},
        weight=1.5,
    ),
)
