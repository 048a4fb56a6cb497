# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon is killed, stopped, halted in its tracks, upgraded.

Knows what must be left in the kernel after each: nothing that acts.
"""

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from random import Random

from tests.campaign.fault import Fault, Parameters
from tests.campaign.subject import DEADMAN
from tests.campaign.world import World
from tests.lab.daemon import VPNGATE
from tests.lab.namespaces import PATIENCE
from vpngate.errors import VpngateError

_GONE = 10.0  # seconds in which the kernel has taken away what nobody owns
_BEYOND = 3.0  # seconds after the dead man's time in which a busy machine looks


def _vpngate(world: World, *argv: str) -> tuple[int, str]:
    """How a command ended, and what it said."""
    done = subprocess.run(
        world.gateway.command((VPNGATE, *argv)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def _hold_nothing_acts(world: World) -> None:
    """No table is there, and programs that still stand somewhere lead nowhere."""
    world.wait(lambda: not world.has_table(), "no table of a dead daemon", _GONE)
    world.wait(lambda: not world.leads_on(), "a dead daemon's programs end", _GONE)


def _hold_nothing_is_left(world: World, by: str) -> None:
    world.hold(not world.has_table(), f"{by} left the table")
    world.hold(not world.ifbs(), f"{by} left where packets waited")
    world.hold(not world.standing(), f"{by} left programs")


@contextlib.contextmanager
def _killed(world: World, parameters: Parameters) -> Iterator[None]:
    """With `vpngate clear` after it, as the package's unit does, or without."""
    world.subject.kill()
    _hold_nothing_acts(world)
    yield
    if parameters["clear"]:
        config = str(world.subject.settings.config)
        status, said = _vpngate(world, "clear", "--config", config)
        world.hold(status == 0, f"clear ended with {status}: {said}")
        _hold_nothing_is_left(world, "clear")
    world.subject.start()


@contextlib.contextmanager
def _killed_early(world: World, parameters: Parameters) -> Iterator[None]:
    """Killed or asked to stop in the middle of its start, which then comes again."""
    world.subject.kill()
    process = world.subject.begin()
    time.sleep(parameters["after"])
    process.send(signal.Signals[parameters["signal"]])
    status = process.wait()
    told = process.output()
    if parameters["signal"] == "SIGTERM" and status not in (0, -signal.SIGTERM):
        world.hold(False, f"asked to stop in its start, it ended with {status}")
    world.found += _traces(told)
    _hold_nothing_acts(world)
    yield
    world.subject.start()


def _traces(log: str) -> list[str]:
    return [f"in its start: {log[-500:]}"] if "Traceback" in log else []


@contextlib.contextmanager
def _killed_in_a_reload(world: World, parameters: Parameters) -> Iterator[None]:
    world.subject.publisher.publish()

    def reload() -> None:
        with contextlib.suppress(VpngateError):
            world.subject.order("reload")

    asking = threading.Thread(target=reload)
    asking.start()
    time.sleep(parameters["after"])
    world.subject.kill()
    asking.join()
    _hold_nothing_acts(world)
    yield
    world.subject.start()


@contextlib.contextmanager
def _upgraded(world: World, _: Parameters) -> Iterator[None]:
    """Stopped, checked and started, as the package's unit does it."""
    process = world.subject.process
    process.send(signal.SIGTERM)
    status = process.wait()
    world.hold(status == 0, f"asked to stop, it ended with {status}")
    _hold_nothing_is_left(world, "a clean stop")
    yield
    config = str(world.subject.settings.config)
    status, said = _vpngate(world, "check", "--before-start", "--config", config)
    world.hold(status == 0, f"check ended with {status}: {said}")
    world.subject.start()


@contextlib.contextmanager
def _paused(world: World, parameters: Parameters) -> Iterator[None]:
    """For less than the dead man's time, as a rule; the kernel goes on by itself."""
    world.subject.process.send(signal.SIGSTOP)
    try:
        time.sleep(parameters["seconds"])
        yield
    finally:
        world.subject.process.send(signal.SIGCONT)


@contextlib.contextmanager
def _paused_for_long(world: World, parameters: Parameters) -> Iterator[None]:
    """Beyond the dead man's time nobody is slowed any more."""
    stopped = time.monotonic()
    world.subject.process.send(signal.SIGSTOP)
    try:
        time.sleep(DEADMAN)
        world.wait(lambda: not world.is_armed(), "disarmed by the kernel", _BEYOND)
        world.noted.append(f"disarmed {time.monotonic() - stopped:.1f} s after")
        before = world.slowed()
        time.sleep(parameters["seconds"])
        world.hold(world.slowed() == before, "slowed beyond the dead man's time")
        yield
    finally:
        world.subject.process.send(signal.SIGCONT)


def _stutter(random: Random) -> Parameters:
    return {
        "times": random.randint(3, 20),
        "stopped": round(random.uniform(0.01, 0.2), 3),
    }


@contextlib.contextmanager
def _stuttering(world: World, parameters: Parameters) -> Iterator[None]:
    """Stopped and continued again and again."""
    process = world.subject.process
    for _ in range(parameters["times"]):
        process.send(signal.SIGSTOP)
        time.sleep(parameters["stopped"])
        process.send(signal.SIGCONT)
        time.sleep(0.01)
    yield


FAULTS = (
    Fault(
        "killed",
        _killed,
        lambda random: {"clear": random.random() < 0.5},
        weight=3,
    ),
    Fault(
        "killed in its start",
        _killed_early,
        lambda random: {
            "after": round(random.uniform(0.0, 2.5), 3),
            "signal": random.choice(["SIGKILL", "SIGTERM"]),
        },
        weight=1.5,
    ),
    Fault(
        "killed in a reload",
        _killed_in_a_reload,
        lambda random: {"after": round(random.uniform(0.0, 0.15), 3)},
        weight=1.5,
    ),
    Fault("upgraded", _upgraded, weight=2),
    Fault(
        "paused",
        _paused,
        lambda random: {"seconds": round(random.uniform(0.1, 3.0), 2)},
        weight=3,
    ),
    Fault(
        "paused for long",
        _paused_for_long,
        lambda random: {"seconds": round(random.uniform(0.2, 1.5), 2)},
        weight=0.5,
        enforcing=True,
    ),
    Fault("stuttering", _stuttering, _stutter, weight=2),
)
