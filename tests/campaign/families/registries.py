# SPDX-License-Identifier: GPL-2.0-or-later
"""The registry's file is swapped for a bad one, or is not there to be had.

Knows that it is refused, told in a line, and that the next good one is taken.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from random import Random

from tests.campaign.fault import Fault, Parameters
from tests.campaign.publisher import SPOILT
from tests.campaign.world import World
from tests.lab.dripping import Dripping


@contextlib.contextmanager
def _swapped(world: World, parameters: Parameters) -> Iterator[None]:
    subject = world.subject
    before = subject.order("status")["registry"]["digest"]
    subject.publisher.spoil(parameters["how"])
    world.hold(bool(world.reload()), "a bad registry is taken")
    digest = subject.order("status")["registry"]["digest"]
    world.hold(digest == before, "a bad registry has changed what is in force")
    try:
        yield
    finally:
        subject.publisher.publish()
        refusal = world.reload()
        world.hold(not refusal, f"the next good one is refused: {refusal}")


def _drips(random: Random) -> Parameters:
    return {
        "every": round(random.uniform(0.01, 0.5), 3),
        "sources": random.randint(1, 2),
        "fallback": random.random() < 0.5,
    }


@contextlib.contextmanager
def _dripping(world: World, parameters: Parameters) -> Iterator[None]:
    """Sources that drip, with or without a good one behind them; none is waited for."""
    subject = world.subject
    before = subject.settings.config.read_text()
    made = [
        world.gateway.call(lambda: Dripping(parameters["every"]))
        for _ in range(parameters["sources"])
    ]
    urls = [f"https://127.0.0.1:{one.port}/registry.json" for one in made]
    own = [str(subject.publisher.file)] if parameters["fallback"] else []
    asking = threading.Thread(target=world.reload)
    try:
        subject.settings.change(registry={"sources": [*urls, *own]})
        asking.start()
        time.sleep(0.3)
        begin = time.monotonic()
        world.hold(subject.status() is not None, "it does not answer while it fetches")
        world.noted.append(f"answered in {time.monotonic() - begin:.2f} s")
        yield
    finally:
        for one in made:
            one.close()
        asking.join()
        subject.settings.restore(before)
        refusal = world.reload()
        world.hold(not refusal, f"the way back is refused: {refusal}")


FAULTS = (
    Fault(
        "bad registry",
        _swapped,
        lambda random: {"how": random.choice(sorted(SPOILT))},
        weight=8,
    ),
    Fault("dripping source", _dripping, _drips, weight=2),
)
