# SPDX-License-Identifier: GPL-2.0-or-later
"""Reloads: storms of signals, and configurations good and bad."""

import contextlib
import signal
import time
from collections.abc import Iterator
from random import Random
from typing import Any

from tests.campaign.fault import Fault, Parameters
from tests.campaign.world import World

_CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "rate": {"throttle": {"rate": "768kbit"}},
    "tunnels": {"tunnels": {"enabled": ["wireguard", "ipsec"]}},
    "one-way": {"tunnels": {"confirm": "one-way"}},
    "protect": {"protect": {"prefixes": ["192.0.2.0/24", "2001:db8:ffff::/48"]}},
    "grace": {"registry": {"removal_grace": "1h"}},
    "copies": {"capture": {"packets_per_second": 5000}},
    "deadman": {"gateway": {"deadman": "15s"}},
    "log": {"log": {"level": "debug"}},
    "interfaces": {"gateway": {"interfaces": ["lan0"]}},
}
# What no running daemon takes over.
_COLD: dict[str, dict[str, dict[str, Any]]] = {
    "subscriber": {"throttle": {"subscriber_prefix": {"ipv4": 24, "ipv6": 56}}},
    "priority": {"gateway": {"hook_priority": 600}},
}
_BROKEN: dict[str, str] = {
    "no TOML": "interfaces: [lan0]\n",
    "empty": "",
    "unknown key": '[gateway]\ninterfaces = ["lan*"]\ncolour = "red"\n',
    "block": '[gateway]\ninterfaces = ["lan*"]\nmode = "block"\n',
    "too slow": '[gateway]\ninterfaces = ["lan*"]\n[throttle]\nrate = "1kbit"\n',
    "nonsense": "\0\1\2" * 100,
}


def _storm(random: Random) -> Parameters:
    return {
        "signals": random.randint(5, 200),
        "pause": round(random.choice([0.0, 0.002, 0.01]), 3),
        "publish": random.random() < 0.5,
    }


@contextlib.contextmanager
def _hung_up(world: World, parameters: Parameters) -> Iterator[None]:
    for number in range(parameters["signals"]):
        if parameters["publish"] and number % 10 == 0:
            world.subject.publisher.publish()
        world.subject.process.send(signal.SIGHUP)
        time.sleep(parameters["pause"])
    yield


@contextlib.contextmanager
def _reloaded(world: World, parameters: Parameters) -> Iterator[None]:
    """Another registry each time, and each is taken."""
    for _ in range(parameters["times"]):
        world.subject.publisher.publish()
        refusal = world.reload()
        world.hold(not refusal, f"a good registry is refused: {refusal}")
    yield


@contextlib.contextmanager
def _changed(world: World, parameters: Parameters) -> Iterator[None]:
    """Another configuration, and back."""
    settings = world.subject.settings
    before = settings.config.read_text()
    settings.change(**_CHANGES[parameters["what"]])
    refusal = world.reload()
    world.hold(not refusal, f"a good configuration is refused: {refusal}")
    try:
        yield
    finally:
        settings.restore(before)
        refusal = world.reload()
        world.hold(not refusal, f"the way back is refused: {refusal}")


@contextlib.contextmanager
def _broken(world: World, parameters: Parameters) -> Iterator[None]:
    """One that is none, or none for a running daemon: all stays as it was."""
    settings = world.subject.settings
    before = settings.config.read_text()
    how = parameters["how"]
    if how in _COLD:
        settings.change(**_COLD[how])
    else:
        settings.config.write_text(_BROKEN[how])
    try:
        world.hold(bool(world.reload()), f"a configuration is taken: {how}")
        status = world.subject.status()
        world.hold(status is not None, f"a configuration silences it: {how}")
        yield
    finally:
        settings.restore(before)
        refusal = world.reload()
        world.hold(not refusal, f"the way back is refused: {refusal}")


FAULTS = (
    Fault("hung up on", _hung_up, _storm, weight=3),
    Fault(
        "reloaded",
        _reloaded,
        lambda random: {"times": random.randint(1, 6)},
        weight=3,
    ),
    Fault(
        "reconfigured",
        _changed,
        lambda random: {"what": random.choice(sorted(_CHANGES))},
        weight=4,
    ),
    Fault(
        "broken configuration",
        _broken,
        lambda random: {"how": random.choice(sorted(_BROKEN | _COLD))},
        weight=3,
    ),
)
