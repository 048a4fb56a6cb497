# SPDX-License-Identifier: GPL-2.0-or-later
"""The eBPF plane in a process of its own, to be killed or stopped.

Knows two flows of one interface that have verdicts, one of them of a registered
address; does not know what happens to it. Says `ready` once it slows, and re-arms;
stops when asked to terminate. Its arguments are a way of attaching (`attachings.py`)
and, where it is another, the dead man's time.

Behind `ready` stand the numbers of two arrays of programs, an older and a newer one
than the plane's own: whatever the order in which the kernel closes a dead process's
descriptors, it has emptied the plane's by when both are gone. They are a control.

    slowed      from 10.77.0.1
    registered  from 10.77.0.11: the kernel alone leaves it be
"""

import asyncio
import contextlib
import signal
import sys
import time
from dataclasses import replace

from tests.lab.attachings import ATTACHINGS
from tests.lab.plane import RULESET
from vpngate.kernel.bpf.maps import Map, MapLayout
from vpngate.kernel.bpf.programs import id_of
from vpngate.kernel.bpf.syscall import MapKind
from vpngate.kernel.bpf_steps import BpfSteps
from vpngate.kernel.live import LiveDataPlane
from vpngate.packets import Endpoint, Transport, parse_address
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Intervals

SLOWED, REGISTERED, PLAIN = "10.77.0.1", "10.77.0.11", "10.77.0.12"
GATEWAY, PORTS = "10.77.0.2", (40000, 51820)
DEADMAN = 3.0  # seconds
RULES = replace(
    RULESET,
    interfaces=("gate0",),
    rate=1_000_000,
    deadman=DEADMAN,
    spared=Intervals.of_prefixes([f"{REGISTERED}/32"]),
)


def flow(source: str) -> Throttle:
    near = Endpoint(parse_address(source), PORTS[0])
    far = Endpoint(parse_address(GATEWAY), PORTS[1])
    return Throttle(Transport.UDP, near, far, near.address, 180, tunnel="wireguard")


def array() -> Map:
    """An array of programs that nothing but this process has."""
    return Map("control", MapLayout(MapKind.PROGRAM_ARRAY, 4, 4, 1))


async def run() -> None:
    older = array()
    steps = BpfSteps(ATTACHINGS[sys.argv[1]])
    plane = LiveDataPlane(steps=steps)
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    deadman = float(sys.argv[2]) if sys.argv[2:] else DEADMAN
    await plane.start(replace(RULES, deadman=deadman))
    flows = [flow(SLOWED), flow(REGISTERED)]
    # Past the check that would drop the second.
    await plane._do(steps.throttled.throttle, flows, time.monotonic())
    assert await plane.rearm()
    newer = array()
    controls = " ".join(str(id_of(one.descriptor)) for one in (older, newer))
    sys.stdout.write(f"ready {controls}\n")
    sys.stdout.flush()
    while not over.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), deadman / 3)
        await plane.rearm()
    await plane.stop()


if __name__ == "__main__":
    asyncio.run(run())
