# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon with more control verbs, for tests that no other program can make.

Knows how to hand the kernel room a verdict past every check that stands before it.
Nobody else can: the table is owned by the daemon. All else is the daemon as it is.

    throttle_regardless  subscriber and remote as [address, UDP port] each
    keep_throttled       flows, each a pair of subscriber and remote: their verdicts
                         stand until the daemon ends, whatever is reloaded
    lose_spared          the spared interval around an address goes, in the kernel alone
    ignore_spared        the rules go that leave registered ends alone, likewise
    verify               the comparison with the kernel that else comes every 30 s
    changing             whether a change of the kernel's rules or sets is under way
    verbs, paths         what the daemon answers to, these verbs aside

And with options for what takes minutes otherwise: --verify-every so many seconds,
--share-over so many, of the traffic that `halt.throttled_share` is a share of;
--quiet so many without a verdict, until packets are asked for none;
--ring so many bytes for copies that programs make; and for what is over too soon to
have something come between, --making so many seconds more for a registry's arrays.
"""

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from tests.lab import by_filters, spoiled
from tests.lab.spoiled import ignore_spared_in, lose_from
from vpngate.bounds import throttled_share
from vpngate.cli.inputs import read_config
from vpngate.daemon import gateway as life
from vpngate.daemon.gateway import Gateway
from vpngate.daemon.outside import logs, served_pages
from vpngate.daemon.outside.control import VerbHandler
from vpngate.http import HttpServer
from vpngate.kernel.bpf_steps import BpfSteps
from vpngate.kernel.detour import verdict_lines
from vpngate.kernel.detour.throttled import Throttled
from vpngate.kernel.detour.verdicts import identity
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.wire import messages
from vpngate.packets import Endpoint, Family, Transport, parse_address
from vpngate.policy import Throttle
from vpngate.prefixes.intervals import Delta, Intervals
from vpngate.ruleset import ring_records
from vpngate.ruleset.registered import Use, entrance

_IDLE = 60  # seconds
_AGAIN = 0.05  # seconds between two times that a verdict is put back
_keeping: set[asyncio.Task[None]] = set()


def _endpoint(pair: list[Any]) -> Endpoint:
    address, port = pair
    return Endpoint(parse_address(address), int(port))


def _flow(subscriber: list[Any], remote: list[Any]) -> Throttle:
    near, far = _endpoint(subscriber), _endpoint(remote)
    return Throttle(Transport.UDP, near, far, near.address, _IDLE)


def _plane(gateway: Gateway) -> LiveDataPlane:
    plane = gateway.plane
    assert isinstance(plane, LiveDataPlane)
    return plane


async def _throttle_regardless(gateway: Gateway, arguments: Mapping[str, Any]) -> None:
    """The verb: a verdict straight into the map, whoever it hits."""
    plane = _plane(gateway)
    flow = _flow(arguments["subscriber"], arguments["remote"])
    throttled = plane._steps.throttled
    await plane._do(throttled.throttle, [flow], time.monotonic())


async def _keep_throttled(gateway: Gateway, arguments: Mapping[str, Any]) -> None:
    """The verb: such verdicts for good.

    The control socket runs one change at a time, so a caller could put nothing back
    while a reload is under way: a task of the daemon does.
    """
    plane = _plane(gateway)
    flows = [_flow(*ends) for ends in arguments["flows"]]
    await _put(plane, flows)

    async def keep() -> None:
        while plane._lanes.are_open:
            await _put(plane, flows)
            await asyncio.sleep(_AGAIN)

    _keeping.add(asyncio.create_task(keep()))


async def _put(plane: LiveDataPlane, flows: Sequence[Throttle]) -> None:
    await plane._do(_impose, plane._steps.throttled, flows)


def _impose(throttled: Throttled, flows: Sequence[Throttle]) -> None:
    """Verdicts in the kernel that the daemon takes for ended.

    So a reload's transaction does not delete them, as it does with verdicts that the
    new registry covers: they stand before, during and after it. What finds them when
    it looks after ended verdicts, every few seconds, is answered by the next round.
    """
    now = time.monotonic()
    given = 0
    while given < len(flows):
        given += throttled.throttle(flows[given:], now)
    throttled.ended(map(identity, flows), now)


async def _lose_spared(gateway: Gateway, arguments: Mapping[str, Any]) -> None:
    """The verb: the kernel loses an interval, and the daemon does not know."""
    plane = _plane(gateway)
    steps, prefix = plane._steps, arguments["prefix"]
    lost = Delta(Intervals.empty(), Intervals.of_prefixes([prefix]))

    def lose() -> None:
        if isinstance(steps, BpfSteps):
            lose_from(steps, Intervals.of_prefixes([prefix]))
            return
        table = steps.table
        for batch in steps.spared.batches(lost):
            table.commit(batch.changes(table.name))

    await plane._do(lose)


async def _ignore_spared(gateway: Gateway, _arguments: Mapping[str, Any]) -> None:
    """The verb: verdicts are acted on whoever is registered, until the next change."""
    plane = _plane(gateway)
    steps = plane._steps
    if isinstance(steps, BpfSteps):
        await plane._do(ignore_spared_in, steps)
        return
    table = steps.table
    entrances = [entrance(Use.THROTTLE, family) for family in Family]
    changes = [messages.delete_rules(table.name, name) for name in entrances]
    await plane._do(table.commit, changes)


async def _verify(gateway: Gateway, _arguments: Mapping[str, Any]) -> None:
    """The verb: compare now; `status` tells what came of it."""
    await gateway._health.verify()


async def _changing(gateway: Gateway, _arguments: Mapping[str, Any]) -> bool:
    """The verb: whether what `replace` was asked for has yet to be done."""
    return _plane(gateway)._changing.locked()


def _noting_paths() -> list[tuple[str, str]]:
    """Methods and paths of the pages, once there are any."""
    paths: list[tuple[str, str]] = []
    servers = served_pages.servers

    def noted(*args: Any, **options: Any) -> list[HttpServer]:
        made = servers(*args, **options)
        paths.extend(route for server in made for route in server._routing._routes)
        return made

    served_pages.servers = noted
    return paths


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--verify-every", type=float, default=life.VERIFY_EVERY)
    parser.add_argument("--share-over", type=float, default=throttled_share._OVER)
    parser.add_argument("--ring", type=int, default=ring_records.RING_SIZE)
    parser.add_argument("--quiet", type=float, default=verdict_lines.QUIET)
    parser.add_argument("--making", type=float, default=0.0)
    args = parser.parse_args()
    spoiled.delay_making(args.making)
    ring_records.RING_SIZE = args.ring
    verdict_lines.QUIET = args.quiet
    life.VERIFY_EVERY = args.verify_every
    throttled_share._LEAST *= args.share_over / throttled_share._OVER
    throttled_share._OVER = args.share_over
    by_filters.as_asked()
    paths = _noting_paths()
    logs.take_uncaught()

    async def run() -> None:
        gateway = Gateway(read_config, args.config, args.socket)
        added: dict[str, VerbHandler] = {}

        async def verbs(_arguments: Mapping[str, Any]) -> list[str]:
            return [name for name in gateway.verbs if name not in added]

        async def pages(_arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
            return paths

        gateway.verbs["throttle_regardless"] = partial(_throttle_regardless, gateway)
        gateway.verbs["keep_throttled"] = partial(_keep_throttled, gateway)
        gateway.verbs["lose_spared"] = partial(_lose_spared, gateway)
        gateway.verbs["ignore_spared"] = partial(_ignore_spared, gateway)
        gateway.verbs["verify"] = partial(_verify, gateway)
        gateway.verbs["changing"] = partial(_changing, gateway)
        gateway.verbs |= {"verbs": verbs, "paths": pages}
        added |= gateway.verbs
        await gateway.run()

    asyncio.run(run())


if __name__ == "__main__":
    main()
