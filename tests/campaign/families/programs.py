# SPDX-License-Identifier: GPL-2.0-or-later
"""What programs stand by, and go on at, is taken away or exchanged by hand.

Knows how root does that past the daemon, and that all of it is put back; does not know
how it is noticed. There are such faults only where programs do the work, some of them
only where these stand by links, some only where by filters.
"""

import contextlib
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from random import Random

from tests.campaign import asked
from tests.campaign.fault import Cost, Fault, Parameters
from tests.campaign.world import LINKS, World
from tests.lab import bpf_daemon
from tests.lab.attachings import by_filters
from tests.lab.standing import detach, links_of
from tests.planes import DEVICE, NEAR_END, PLANE
from vpngate.config import Plane
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.assembly import ActionCode, Assembly
from vpngate.kernel.bpf.maps import Map, index
from vpngate.kernel.bpf.marks import PREFERENCE
from vpngate.kernel.bpf.plane_maps import Stage
from vpngate.kernel.bpf.syscall import AttachPoint

_REPAIRED = 60.0  # seconds, also on a busy machine
_FAR_END = "vgr"  # of a pair: its name begins so, and goes on as the near one's
_HOOKED, _CONTROL = LINKS
_ATTEMPTS = 20
_REST = 0.5  # seconds in which what was announced is put right
_PASSING = Assembly().exit(ActionCode.NEXT).assembled()  # a program that does nothing


@contextlib.contextmanager
def _pair_harmed(world: World, parameters: Parameters) -> Iterator[None]:
    """The end of a pair that sends back what has waited; what waits is lost with it."""
    harm: dict[str, list[str]] = {
        "down": ["ip", "link", "set", "dev", "FAR", "down"],
        "gone": ["ip", "link", "del", "dev", "FAR"],
        "small": ["ip", "link", "set", "dev", "FAR", "mtu", "1400"],
        "no filter": ["tc", "filter", "del", "dev", "FAR", "ingress"],
        "no clsact": ["tc", "qdisc", "del", "dev", "FAR", "clsact"],
    }
    for near in world.ifbs():
        far = _FAR_END + near.removeprefix(NEAR_END)
        command = harm[parameters["how"]]
        words = [far if word == "FAR" else word for word in command]
        # Between the question and the order it may have been put right already.
        world.gateway.run(*words, check=False)
    yield


@contextlib.contextmanager
def _stage_exchanged(world: World, parameters: Parameters) -> Iterator[None]:
    """Another program is put where packets go on, or none."""
    subject, stage = world.subject, Stage[parameters["stage"]]
    subject.order("verify")  # what was amiss before this is no disagreement of it
    pid = subject.process.pid
    before = asked.slots(pid)
    chosen = [number for number in before if _stage_of(number) is stage]
    world.hold(bool(chosen), f"nothing to go on at: {stage.name}")
    program = programs.load(_PASSING, "others")
    other = struct.pack("=I", programs.id_of(program))
    try:
        with bpf_daemon.stage_arrays(pid) as [found]:
            for number in chosen:
                _meddle(found.map, number, program, emptied=parameters["emptied"])
    finally:
        programs.close(program)
    yield

    def whole() -> bool:
        now = asked.slots(pid)
        return now.keys() == before.keys() and other not in now.values()

    world.wait(whole, f"stages put back: {stage.name}", _REPAIRED)


def _stage_of(number: int) -> Stage:
    return max(stage for stage in Stage if stage <= number)


def _meddle(stages: Map, number: int, program: int, *, emptied: bool) -> None:
    if emptied:
        stages.remove(index(number))
    else:
        stages.put(index(number), struct.pack("=I", program))


@contextlib.contextmanager
def _detached(world: World, parameters: Parameters) -> Iterator[None]:
    """Links at an interface's hooks, or the one where packets wait."""
    device = parameters["device"]
    here = world.gateway.call(lambda: socket.if_nametoindex(device))
    told = links_of(world.subject.process.pid).items()
    links = [link for link, at in told if at == here]
    world.hold(bool(links), f"no link at {device}")
    for link in links[: parameters["links"]]:
        detach(link)
    yield
    _wait_until_back(world, device, len(links))


def _wait_until_back(world: World, device: str, count: int) -> None:
    def back() -> bool:
        return len(asked.standing(world.gateway, [device])) >= count

    world.wait(back, f"programs stand at {device} again", _REPAIRED)


@contextlib.contextmanager
def _shared(world: World, parameters: Parameters) -> Iterator[None]:
    """Somebody else's program at the same hook: the interface is left alone."""

    def attach() -> tuple[int, int]:
        program = programs.load(_PASSING, "others")
        here = socket.if_nametoindex(_HOOKED)
        return program, programs.link(program, here, AttachPoint[parameters["hook"]])

    held = world.gateway.call(attach)
    try:
        what = "an interface with somebody's program is left alone"
        world.wait(lambda: _is_left_alone(world) is True, what, _REPAIRED)
        yield
    finally:
        for descriptor in held:
            programs.close(descriptor)
    world.wait(lambda: _is_left_alone(world) is False, "it is had again", _REPAIRED)


def _is_left_alone(world: World) -> bool | None:
    """None where nobody answers."""
    status = world.subject.status()
    return None if status is None else _HOOKED in status["interfaces_left_alone"]


@contextlib.contextmanager
def _filter_deleted(world: World, parameters: Parameters) -> Iterator[None]:
    """One of ours, at a side of an interface or where packets wait."""
    device = parameters["device"]
    before = len(asked.standing(world.gateway, [device]))
    world.hold(before > 0, f"no filter at {device}")
    _delete_filters(world, device, [parameters["side"]])
    yield
    _wait_until_back(world, device, before)


def _delete_filters(world: World, device: str, sides: Sequence[str]) -> None:
    """In one go: nothing is put right in between."""
    lines = [f"filter del dev {device} {side} pref {PREFERENCE}" for side in sides]
    told = "\n".join(lines) + "\n"
    world.gateway.run("tc", "-force", "-batch", "-", stdin=told, check=False)


@contextlib.contextmanager
def _clsact_gone(world: World, _: Parameters) -> Iterator[None]:
    """What the filters hang in; the control's goes, too, and comes again."""
    before = len(asked.standing(world.gateway, [_HOOKED]))
    for name in LINKS:
        world.gateway.run("tc", "qdisc", "del", "dev", name, "clsact", check=False)
    try:
        yield
    finally:
        world.gateway.run("tc", "qdisc", "add", "dev", _CONTROL, "clsact")
        _wait_until_back(world, _HOOKED, before)
        _give_back(world)


def _give_back(world: World) -> None:
    """Have clsact be nobody's again, as before: else its end costs packets.

    It counts as the operator's where both filters are gone and it is not.
    """
    sides = ("ingress", "egress")

    def told() -> list[str]:
        show = ("tc", "filter", "show", "dev", _HOOKED)
        return [world.gateway.run(*show, side, check=False) for side in sides]

    for _ in range(_ATTEMPTS):
        if all("vpngate:" in one and "+clsact" not in one for one in told()):
            return
        _delete_filters(world, _HOOKED, sides)
        time.sleep(_REST)
    world.found.append("a clsact that was left without filters is not the operator's")


def _some_links(random: Random) -> Parameters:
    device = random.choice([_HOOKED, _HOOKED, DEVICE])
    return {"device": device, "links": random.randint(1, 2)}


def _some_filter(random: Random) -> Parameters:
    device = random.choice([_HOOKED, _HOOKED, DEVICE])
    sides = ["ingress", "egress"] if device == _HOOKED else ["egress"]
    return {"device": device, "side": random.choice(sides)}


def _some_stage(*more: Stage) -> list[str]:
    return [one.name for one in (Stage.THROTTLE, Stage.COPY, Stage.WITNESS, *more)]


def _exchanging(*more: Stage) -> Fault:
    return Fault(
        "stage exchanged",
        _stage_exchanged,
        lambda random: {
            "stage": random.choice(_some_stage(*more)),
            "emptied": random.random() < 0.5,
        },
        weight=2,
        enforcing=True,
    )


_PAIR = Fault(
    "pair harmed",
    _pair_harmed,
    lambda random: {
        "how": random.choice(["down", "gone", "small", "no filter", "no clsact"])
    },
    weight=3,
    enforcing=True,
)
BY_LINKS = (
    _PAIR,
    _exchanging(),
    Fault("program detached", _detached, _some_links, weight=3, enforcing=True),
    Fault(
        "foreign program",
        _shared,
        lambda random: {"hook": random.choice([one.name for one in AttachPoint])},
        weight=1.5,
    ),
)
BY_FILTERS = (
    _PAIR,
    _exchanging(Stage.HOOK),
    Fault("filter deleted", _filter_deleted, _some_filter, weight=3, enforcing=True),
    Fault("clsact gone", _clsact_gone, cost=Cost.LINK, weight=1.5, enforcing=True),
)


def _of_this_run() -> tuple[Fault, ...]:
    if PLANE is not Plane.EBPF:
        return ()
    return BY_FILTERS if by_filters() else BY_LINKS


FAULTS = _of_this_run()
