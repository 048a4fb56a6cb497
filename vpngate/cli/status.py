# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate status`: what the running daemon says of itself, once or again and again.

Knows how to print an answer for people or for programs; the daemon decides what
is in it.
"""

import argparse
from typing import TYPE_CHECKING

from vpngate.cli import options
from vpngate.cli.printing.named_rows import show_rows
from vpngate.daemon.outside.client import request
from vpngate.errors import Problem, WrongUse
from vpngate.units import parse_duration

if TYPE_CHECKING:
    from vpngate.cli import Subparsers

INTERVAL = "2s"
_SHORTEST, _LONGEST = 0.1, 86400.0  # seconds


def add_parser(commands: "Subparsers") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "status", help="the running daemon: mode, registry, flows, health"
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="again and again until Ctrl-C, also while no daemon answers",
    )
    parser.add_argument(
        "--interval",
        metavar="DURATION",
        default=INTERVAL,
        help="of --watch (default: %(default)s)",
    )
    options.add_socket(parser)
    options.add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print the daemon's state; 1 if it calls itself unhealthy."""
    seconds = _seconds(args.interval)
    if args.watch:
        from vpngate.cli.watching import watch

        watch(args.socket, seconds, as_json=args.format == "json")
    state = request(args.socket, "status")
    if args.format == "json":
        options.show("json", state, list)
    else:
        show_rows(state)
    return 0 if state.get("healthy", True) else 1


def _seconds(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise WrongUse(Problem("--interval", str(error))) from None
    if not _SHORTEST <= seconds <= _LONGEST:
        raise WrongUse(Problem("--interval", f"{text} is not from 100ms to 1d"))
    return seconds
