# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon with one more control verb, for a test that no other program can make.

Knows how to hand the kernel room a verdict past every check that stands before it.
Nobody else can: the table is owned by the daemon. All else is the daemon as it is.

    throttle_regardless  subscriber and remote as [address, UDP port] each
"""

import argparse
import asyncio
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from vpngate.cli.inputs import read_config
from vpngate.daemon.gateway import Gateway
from vpngate.kernel.live import LiveDataPlane
from vpngate.packets import Endpoint, Transport, parse_address
from vpngate.policy import Throttle

_IDLE = 60  # seconds


def _endpoint(pair: list[Any]) -> Endpoint:
    address, port = pair
    return Endpoint(parse_address(address), int(port))


async def _throttle_regardless(gateway: Gateway, arguments: Mapping[str, Any]) -> None:
    """The verb: a verdict straight into the map, whoever it hits."""
    plane = gateway.plane
    assert isinstance(plane, LiveDataPlane)
    subscriber = _endpoint(arguments["subscriber"])
    remote = _endpoint(arguments["remote"])
    flow = Throttle(Transport.UDP, subscriber, remote, subscriber.address, _IDLE)
    throttled = plane._apparatus._throttled
    await plane._do(throttled.throttle, [flow], time.monotonic())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    parser.add_argument("--socket", required=True)
    args = parser.parse_args()

    async def run() -> None:
        gateway = Gateway(read_config, args.config, args.socket)
        gateway.verbs["throttle_regardless"] = partial(_throttle_regardless, gateway)
        await gateway.run()

    asyncio.run(run())


if __name__ == "__main__":
    main()
