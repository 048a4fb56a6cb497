# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate check`: whether configuration and registry are sound.

Knows that everything wrong is told at once, and that nothing is touched: no
kernel, no state, no daemon. Does not know what would be wrong.
"""

import argparse
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vpngate.cli import complain, inputs, options
from vpngate.cli.printing.networks import counted, named
from vpngate.config import Config, examine_config
from vpngate.errors import InvalidConfig, UnreadableInput, VpngateError
from vpngate.plaintext import plain
from vpngate.registry import Registry, impact
from vpngate.supply.fleet_key import fleet_key_problems
from vpngate.supply.offers import Supply

if TYPE_CHECKING:
    from vpngate.cli import Subparsers


def add_parser(commands: "Subparsers") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "check", help="validate configuration and registry; touches nothing"
    )
    options.add_config(parser)
    parser.add_argument(
        "--before-start",
        action="store_true",
        help="only what would keep the daemon from starting: no source is asked",
    )


def run(args: argparse.Namespace) -> int:
    """Print what is sound; 1 if anything is invalid, 2 if anything is unreadable.

    Before a start the registry is the daemon's business: it begins with the last good
    one where no source has a better one, and says what it lacks.
    """
    if args.before_start:
        config = inputs.read_config(args.config)
        inputs.supply_of(config, args.config, time.time())
        if wrong := fleet_key_problems(config.gateway.share_key):
            raise InvalidConfig(wrong)
        return 0
    found = examine_config(
        inputs.read_text(args.config),
        where=args.config,
        known_tunnels=inputs.known_tunnels(),
    )
    problems = [str(problem) for problem in found.problems]
    if found.config is not None:
        key = found.config.gateway.share_key
        problems += [str(problem) for problem in fleet_key_problems(key)]
    unreadable = False
    summary: list[str] = []
    if found.config is not None and "registry" not in found.faulty:
        try:
            summary, more = _registry(found.config, args.config)
            problems += more
        except VpngateError as error:
            problems += error.lines
            unreadable = error.exit_status == UnreadableInput.exit_status
    complain(*problems)
    if found.config is not None:
        complain(*(f"warning: {line}" for line in found.config.outdated))
    if not found.problems:
        print(f"configuration  {plain(args.config)}: sound")
    for line in summary:
        print(line)
    if unreadable:
        return UnreadableInput.exit_status
    return 1 if problems else 0


def _registry(config: Config, where: str) -> tuple[list[str], list[str]]:
    """What the configured registry would mean, and all that is wrong in it."""
    now = time.time()
    supply = inputs.supply_of(config, where, now)
    with supply.offers() as offers:
        offer = next(offers.registries())
    loaded = offer.loaded
    complain(*(f"warning: {line}" for fault in offer.faults for line in fault.lines))
    last = _last_good(supply)
    complain(*(f"warning: {line}" for line in _spared(config, offer.registry, now)))
    problems = [str(problem) for problem in loaded.problems]
    if loaded.rejected > len(loaded.problems):
        total = f"{loaded.rejected} of {loaded.rows} rows cannot be used"
        problems.append(f"{offer.source}: {total}")
    against = supply.objections(offer, last)
    problems += [f"{offer.source}: {objection.problem}" for objection in against]
    return list(_summary(offer.source, offer.registry, last, now)), problems


def _spared(config: Config, registry: Registry, now: float) -> list[str]:
    """Networks of subscribers, as far as this machine has them, that it covers."""
    from vpngate.attachment.look import current_networks
    from vpngate.attachment.machine import Machine
    from vpngate.snapshot import Snapshot, stance_of, tell_spared

    try:
        networks = current_networks(config)
    except (VpngateError, OSError):  # another machine, or a sandbox: the daemon tells
        return []
    machine = Machine(networks=networks)
    snapshot = Snapshot(config, (), registry, machine, stance_of(config))
    return [
        tell_spared(network)
        for network in snapshot.spared_networks(registry.covered(now))
    ]


def _last_good(supply: Supply) -> Registry | None:
    try:
        return inputs.last_good(supply)
    except VpngateError as error:
        complain(*(f"warning: {line}; not compared with it" for line in error.lines))
        return None


def _summary(
    source: str, registry: Registry, last: Registry | None, now: float
) -> Iterator[str]:
    counts = ", ".join(f"{n} {f.label}" for f, n in registry.prefixes.items())
    serial = f", serial {registry.serial}" if registry.serial is not None else ""
    whole = f"{len(registry)} registrations ({counts}){serial}"
    yield f"registry       {plain(source)}: {whole}"
    if registry.suspend:
        yield f"suspends       gateways observe: {plain(registry.suspend)}"
    found = impact(last, registry, now)
    yield f"covers         {counted(found.covered)}"
    yield f"digest         {registry.intervals_digest}"
    if last is None:
        return
    yield f"since last     {counted(found.gained)} more, {counted(found.lost)} fewer"
    covered, before = registry.covered(now), last.covered(now)
    for what, these in (
        ("more", covered.difference(before)),
        ("fewer", before.difference(covered)),
    ):
        if names := named(these):
            yield f"{what:<14} {names}"
