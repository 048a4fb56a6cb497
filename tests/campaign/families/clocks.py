# SPDX-License-Identifier: GPL-2.0-or-later
"""The clock jumps, both ways, and comes back.

Knows how libfaketime is told; the daemon was started with it. What never jumps on a
machine does not jump here.
"""

import contextlib
import time
from collections.abc import Iterator

from tests.campaign.fault import Fault, Parameters
from tests.campaign.world import World

_SEEN = 1.2  # seconds until the library has looked at its file again


@contextlib.contextmanager
def _jumped(world: World, parameters: Parameters) -> Iterator[None]:
    shift = world.subject.shift
    try:
        for seconds in parameters["seconds"]:
            shift.write_text(f"{seconds:+d}s\n")
            time.sleep(_SEEN)
            if parameters["reload"]:
                world.subject.publisher.publish()
                refusal = world.reload()
                world.hold(not refusal, f"under another clock: {refusal}")
        yield
    finally:
        shift.write_text("+0d\n")
        time.sleep(_SEEN)


_JUMPS = (1, 60, 3600, 86_400, 30 * 86_400, 5 * 365 * 86_400)

FAULTS = (
    Fault(
        "clock jumps",
        _jumped,
        lambda random: {
            "seconds": [
                random.choice([-1, 1]) * random.choice(_JUMPS)
                for _ in range(random.randint(1, 2))
            ],
            "reload": random.random() < 0.5,
        },
        weight=3,
        clock=True,
    ),
)
