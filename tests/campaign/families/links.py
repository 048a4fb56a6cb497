# SPDX-License-Identifier: GPL-2.0-or-later
"""Interfaces go down, change their name, come and go; and the ifbs are harmed.

Knows that what cuts a link is done to the control's link in the same breath; does not
know what else goes over them.
"""

import contextlib
import time
from collections.abc import Iterator

from tests.campaign.fault import Cost, Fault, Parameters
from tests.campaign.world import CONTROL, LINKS, World
from tests.lab import topology
from tests.lab.attachings import by_filters
from tests.lab.topology import Wire

_REPAIRED = 60.0  # seconds, also on a busy machine
_CLIENT, _NEIGHBOUR = topology.WIRES[:2]


def _neighbours(wire: Wire) -> list[str]:
    """What the gateway forgets when the link goes down (as `topology.lay` has it)."""
    device = wire.port
    return [
        f"addr replace {wire.ipv6}:1/64 dev {device} nodad",
        f"neigh replace {wire.ipv4}.{wire.last} lladdr {wire.mac} dev {device}",
        f"neigh replace {wire.ipv6}:{wire.last} lladdr {wire.mac} dev {device}",
    ]


@contextlib.contextmanager
def _down(world: World, parameters: Parameters) -> Iterator[None]:
    """The subscribers' link and the control's, some times in a row."""
    for left in reversed(range(parameters["times"])):
        world.gateway.ip(*(f"link set {name} down" for name in LINKS))
        if left:
            time.sleep(parameters["pause"])
        else:
            yield
        up = [f"link set {name} up" for name in LINKS]
        world.gateway.ip(*up, *_neighbours(_CLIENT), *_neighbours(CONTROL))
        if left:
            time.sleep(parameters["pause"])


@contextlib.contextmanager
def _renamed(world: World, parameters: Parameters) -> Iterator[None]:
    """Under a name that vpngate is not told of, it is none of its business."""
    others = [f"x{name}" for name in LINKS]
    for left in reversed(range(parameters["times"])):
        pairs = list(zip(LINKS, others, strict=True))
        world.gateway.ip(*(f"link set {one} name {other}" for one, other in pairs))
        if not left:
            yield
        world.gateway.ip(*(f"link set {other} name {one}" for one, other in pairs))


@contextlib.contextmanager
def _crowd(world: World, parameters: Parameters) -> Iterator[None]:
    """More subscriber interfaces, which come and go."""
    devices = [f"lan{20 + number}" for number in range(parameters["count"])]
    world.gateway.ip(
        *(f"link add {one} type veth peer name peer{one}" for one in devices),
        *(f"link set {one} up" for one in devices),
    )
    try:
        yield
    finally:
        world.gateway.ip(*(f"link del {one}" for one in devices))


@contextlib.contextmanager
def _flapping(world: World, parameters: Parameters) -> Iterator[None]:
    """One that comes and goes faster than anybody can follow."""
    for _ in range(parameters["times"]):
        world.gateway.ip(
            "link add lan9 type veth peer name peer9",
            "link set lan9 up",
            "link del lan9",
        )
    yield


@contextlib.contextmanager
def _gone(world: World, _: Parameters) -> Iterator[None]:
    """A subscriber interface is taken away, and comes back as another one."""
    world.gateway.ip(f"link del {_NEIGHBOUR.port}")
    try:
        yield
    finally:
        neighbour = world.lab.neighbour.namespace
        topology.lay(_NEIGHBOUR, neighbour, world.gateway)


@contextlib.contextmanager
def _resized(world: World, parameters: Parameters) -> Iterator[None]:
    world.gateway.ip(*(f"link set {one} mtu {parameters['mtu']}" for one in LINKS))
    try:
        yield
    finally:
        world.gateway.ip(*(f"link set {one} mtu 1500" for one in LINKS))


@contextlib.contextmanager
def _filtered(world: World, parameters: Parameters) -> Iterator[None]:
    """Somebody else's filter at egress: such an interface is left alone.

    The kernel stops a device's queue for as long as it hangs clsact in. Where programs
    stand by filters it is there before, and stays.
    """
    filter_ = "pref 9 protocol ip u32 match ip dst 192.0.2.99/32 action ok"
    tc = world.gateway.run
    for name in LINKS:
        tc("tc", "qdisc", "replace", "dev", name, "clsact")
        where = ("dev", name, parameters["hook"])
        tc("tc", "filter", "add", *where, *filter_.split(), check=False)
    try:
        yield
    finally:
        for name in LINKS:
            where = ("dev", name, parameters["hook"])
            tc("tc", "filter", "del", *where, "pref", "9", check=False)
            if not by_filters():
                tc("tc", "qdisc", "del", "dev", name, "clsact", check=False)


@contextlib.contextmanager
def _queued(world: World, parameters: Parameters) -> Iterator[None]:
    """Another queueing discipline on the subscribers' link and the control's."""
    tc = world.gateway.run
    for name in LINKS:
        tc("tc", "qdisc", "replace", "dev", name, "root", parameters["kind"])
    try:
        yield
    finally:
        for name in LINKS:
            tc("tc", "qdisc", "del", "dev", name, "root", check=False)


@contextlib.contextmanager
def _ifb_harmed(world: World, parameters: Parameters) -> Iterator[None]:
    """Down, gone, under another name, or without its classes: it is put right.

    The near end of a pair, where packets wait in one.
    """
    harm: dict[str, list[str]] = {
        "down": ["ip", "link", "set", "dev", "IFB", "down"],
        "gone": ["ip", "link", "del", "dev", "IFB"],
        "renamed": ["ip", "link", "set", "dev", "IFB", "name", "other0"],
        "no qdisc": ["tc", "qdisc", "del", "dev", "IFB", "root"],
        "another qdisc": ["tc", "qdisc", "replace", "dev", "IFB", "root", "pfifo"],
    }
    for device in world.ifbs():
        command = harm[parameters["how"]]
        words = [device if word == "IFB" else word for word in command]
        # Between the question and the order it may have been put right already.
        world.gateway.run(*words, check=False)
    yield
    if parameters["how"] == "renamed":
        world.gateway.run("ip", "link", "del", "dev", "other0", check=False)


FAULTS = (
    Fault(
        "link down",
        _down,
        lambda random: {
            "times": random.randint(1, 4),
            "pause": round(random.uniform(0.01, 0.3), 3),
        },
        cost=Cost.LINK,
        weight=3,
    ),
    Fault(
        "link renamed",
        _renamed,
        lambda random: {"times": random.randint(1, 5)},
        weight=2,
    ),
    Fault(
        "links come and go",
        _crowd,
        lambda random: {"count": random.choice([1, 3, 10, 40])},
        weight=2,
    ),
    Fault(
        "link flaps",
        _flapping,
        lambda random: {"times": random.randint(2, 20)},
        weight=2,
    ),
    Fault("link gone", _gone, weight=2),
    Fault(
        "link resized",
        _resized,
        lambda random: {"mtu": random.choice([1400, 1600, 4000, 9000])},
        weight=1,
    ),
    Fault(
        "foreign filter",
        _filtered,
        lambda random: {"hook": random.choice(["egress", "ingress"])},
        cost=Cost.LINK,
        weight=1.5,
    ),
    Fault(
        "foreign queue",
        _queued,
        lambda random: {"kind": random.choice(["pfifo", "pfifo_fast", "htb"])},
        cost=Cost.LINK,  # the same
        weight=1,
    ),
    Fault(
        "ifb harmed",
        _ifb_harmed,
        lambda random: {
            "how": random.choice(
                ["down", "gone", "renamed", "no qdisc", "another qdisc"]
            )
        },
        weight=4,
        enforcing=True,
    ),
)
