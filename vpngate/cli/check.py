# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate check`: whether configuration and registry are sound.

Knows that everything wrong is told at once, and that nothing is touched: no
kernel, no state, no daemon. Does not know what would be wrong.
"""

import argparse
import time
from typing import TYPE_CHECKING

from vpngate.cli import complain, inputs, options
from vpngate.config import Config, examine_config
from vpngate.errors import UnreadableInput, VpngateError
from vpngate.packets import Family
from vpngate.registry import GuardSettings, Loaded, objections

if TYPE_CHECKING:
    from vpngate.cli import Subparsers


def add_parser(commands: "Subparsers") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "check", help="validate configuration and registry; touches nothing"
    )
    options.add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Print what is sound; 1 if anything is invalid, 2 if anything is unreadable."""
    found = examine_config(
        inputs.read_text(args.config),
        where=args.config,
        known_tunnels=inputs.known_tunnels(),
    )
    problems = [str(problem) for problem in found.problems]
    unreadable = False
    summary = ""
    if found.config is not None and "registry" not in found.faulty:
        try:
            summary, more = _registry(found.config, args.config)
            problems += more
        except VpngateError as error:
            problems += error.lines
            unreadable = error.exit_status == UnreadableInput.exit_status
    complain(*problems)
    if not found.problems:
        print(f"configuration  {args.config}: sound")
    if summary:
        print(f"registry       {summary}")
    if unreadable:
        return UnreadableInput.exit_status
    return 1 if problems else 0


def _registry(config: Config, where: str) -> tuple[str, list[str]]:
    """What the configured registry holds, in one line, and all that is wrong in it."""
    now = time.time()
    sources = inputs.Sources(config, where)
    loaded = sources.read(now)
    complain(*(f"warning: {line}" for fault in sources.faults for line in fault.lines))
    settings = GuardSettings(
        min_prefix_length={
            family: config.registry.min_prefix_length.of(family) for family in Family
        },
        max_removed=config.registry.max_removed,
        sentinels=tuple(map(str, config.registry.sentinels)),
    )
    against = objections(None, loaded.registry, settings, now)
    problems = [str(problem) for problem in loaded.problems]
    if loaded.rejected > len(loaded.problems):
        total = f"{loaded.rejected} of {loaded.rows} rows cannot be used"
        problems.append(f"{sources.source}: {total}")
    problems += [f"{sources.source}: {objection.problem}" for objection in against]
    return f"{sources.source}: {_summary(loaded)}", problems


def _summary(loaded: Loaded) -> str:
    registry = loaded.registry
    counts = ", ".join(f"{n} {f.label}" for f, n in registry.prefixes.items())
    serial = f", serial {registry.serial}" if registry.serial is not None else ""
    return f"{len(registry)} registrations ({counts}){serial}"
