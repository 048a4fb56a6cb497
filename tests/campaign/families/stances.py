# SPDX-License-Identifier: GPL-2.0-or-later
"""Enforce, observe, halt, suspend, in any order: the stance follows its table.

Knows the orders; what has to follow from them is `vpngate.stance`'s own word.
"""

import contextlib
import time
from collections.abc import Iterator
from random import Random

from tests.campaign.fault import Fault, Parameters
from tests.campaign.world import World
from tests.lab.namespaces import LabError, wait_until
from vpngate.config import Mode
from vpngate.daemon.wall_clock import read_machine
from vpngate.errors import Refused, VpngateError
from vpngate.stance import (
    Cause,
    Confirmation,
    Enforce,
    Halt,
    HaltReason,
    Observe,
    StanceEvent,
    Suspend,
)

_AT_ONCE = 30.0  # seconds in which a busy machine has nobody slowed any more
_LOOKED_AT = 5.0  # seconds in which the daemon looks at its bounds
_ATTEMPTS = 4
_WHY = "the campaign"


def _obeyed(world: World) -> None:
    """What it says it does is what there has to be."""
    status = world.subject.order("status")
    world.found += world.subject.stance_told(status)
    if status["mode"] == "observe":
        world.wait(lambda: not world.is_armed(), "observing, and armed", _AT_ONCE)


def _observes(world: World) -> bool:
    return bool(world.subject.order("status")["mode"] == "observe")


def _orders(random: Random) -> Parameters:
    orders = [random.choice(["enforce", "observe", "confirm"]) for _ in range(6)]
    return {
        "orders": orders[: random.randint(2, 6)],
        "share": random.choice([1, 50, 100]),
    }


@contextlib.contextmanager
def _ordered(world: World, parameters: Parameters) -> Iterator[None]:
    """Orders one after the other, each followed by its stance."""
    subject = world.subject
    events: dict[str, StanceEvent] = {
        "enforce": Enforce(parameters["share"]),
        "observe": Observe(),
        "confirm": Confirmation(),
    }
    for verb in parameters["orders"]:
        arguments = {}
        if verb == "enforce":
            arguments = {"share": parameters["share"]}
        with contextlib.suppress(VpngateError):  # nothing to confirm, say
            subject.order(verb, **arguments)
        subject.follows(events[verb])
        _obeyed(world)
    yield


@contextlib.contextmanager
def _unconfirmed(world: World, parameters: Parameters) -> Iterator[None]:
    """An enforce that nobody confirms goes back, also while the daemon is killed."""
    subject = world.subject
    seconds = parameters["within"]
    begin, at = time.monotonic(), read_machine()
    with contextlib.suppress(Refused):  # it is over before it is in force
        subject.order("enforce", share=100, confirm_within=seconds)
    subject.follows(Enforce(100, confirm_within=seconds), at)
    if parameters["killed"]:
        subject.kill()
        time.sleep(max(0.0, begin + seconds - time.monotonic()))
        subject.start()
    else:
        time.sleep(max(0.0, begin + seconds + 1.0 - time.monotonic()))
    _obeyed(world)
    yield


@contextlib.contextmanager
def _halted(world: World, _: Parameters) -> Iterator[None]:
    """The kernel and the registry are apart twice in a row: it halts, and stays so.

    A look of the daemon's own may come in between, and find that they agree.
    """
    subject = world.subject
    subject.order("verify")  # what is in doubt from before is no disagreement
    for _attempt in range(_ATTEMPTS):
        for _time in range(2):
            subject.order("lose_spared", prefix="203.0.113.0/24")
            subject.order("verify")
        with contextlib.suppress(LabError):
            wait_until(lambda: _observes(world), "halted", _LOOKED_AT)
            break
    subject.follows(Halt(HaltReason.DISAGREEMENTS))
    world.wait(lambda: _observes(world), "halted", _AT_ONCE)
    _obeyed(world)
    refusal = world.reload()
    world.hold(not refusal, f"halted, it refuses a reload: {refusal}")
    _obeyed(world)
    yield
    # A halt is no good health: what comes next needs a person's word.
    subject.order("observe")
    subject.order("enforce", share=100)
    subject.follows(Enforce(100))


@contextlib.contextmanager
def _suspended(world: World, parameters: Parameters) -> Iterator[None]:
    """The registry says that nobody is to be slowed, and later no more."""
    subject = world.subject
    subject.publisher.publish(suspend=_WHY)
    refusal = world.reload()
    world.hold(not refusal, f"a registry that suspends is refused: {refusal}")
    subject.follows(Suspend(_WHY))
    _obeyed(world)
    try:
        if parameters["restart"]:
            subject.kill()
            subject.start()
            _obeyed(world)
        yield
    finally:
        subject.publisher.publish()
        refusal = world.reload()
        world.hold(not refusal, f"the next one is refused: {refusal}")
    _obeyed(world)  # still: it takes a person
    world.hold(subject.stance.mode is Mode.OBSERVE, "resumed by itself")


@contextlib.contextmanager
def _rewritten(world: World, _: Parameters) -> Iterator[None]:
    """Another mode in the file counts once, and so does the way back."""
    subject = world.subject
    for mode in (Mode.OBSERVE, Mode.ENFORCE):
        subject.configure(mode)
        refusal = world.reload()
        world.hold(not refusal, f"another mode is refused: {refusal}")
        _obeyed(world)
        world.hold(subject.stance.why.cause is Cause.CONFIGURED, "not as configured")
    yield


@contextlib.contextmanager
def _for_a_time(world: World, parameters: Parameters) -> Iterator[None]:
    """A time box ends by itself."""
    subject = world.subject
    seconds = parameters["seconds"]
    begin, at = time.monotonic(), read_machine()
    with contextlib.suppress(Refused):  # it is over before it is in force
        subject.order("enforce", share=100, **{"for": seconds})
    subject.follows(Enforce(100, for_seconds=seconds), at)
    time.sleep(max(0.0, begin + seconds + 1.0 - time.monotonic()))
    _obeyed(world)
    world.hold(subject.stance.mode is Mode.OBSERVE, "the time box never ends")
    yield


FAULTS = (
    Fault("orders", _ordered, _orders, weight=4),
    Fault(
        "not confirmed",
        _unconfirmed,
        lambda random: {"within": 2.0, "killed": random.random() < 0.3},
        weight=2,
    ),
    Fault("halted", _halted, weight=2, enforcing=True),
    Fault(
        "suspended",
        _suspended,
        lambda random: {"restart": random.random() < 0.3},
        weight=2,
    ),
    Fault("another mode in the file", _rewritten, weight=2),
    Fault("for a time", _for_a_time, lambda _: {"seconds": 1.5}, weight=1),
)
