# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate enforce`: have the running daemon act on verdicts.

Knows the options and their units; the daemon decides whether it may.
"""

import argparse
from typing import TYPE_CHECKING

from vpngate.cli.steering.order import add_options, ask
from vpngate.errors import Problem, WrongUse
from vpngate.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from vpngate.cli import Subparsers

_ALL = 100  # percent


def add_parser(commands: "Subparsers") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "enforce",
        help="have the running daemon act on verdicts",
        description="Have the running daemon slow unregistered tunnels, from now on.",
    )
    parser.add_argument(
        "--share",
        metavar="PERCENT",
        help="of the subscribers (default: as it stands in `vpngate status`)",
    )
    parser.add_argument(
        "--for",
        dest="for_",
        metavar="DURATION",
        help="then observe again, like 8h (default: until somebody says so)",
    )
    parser.add_argument(
        "--confirm-within",
        metavar="DURATION",
        help="back to what is now, unless `vpngate confirm` comes in this time",
    )
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Ask for it, and print what is in force then; 1 if the daemon refuses."""
    asked = {
        "share": _read("--share", args.share, _percent),
        "for": _read("--for", args.for_, parse_duration),
        "confirm_within": _read(
            "--confirm-within", args.confirm_within, parse_duration
        ),
    }
    arguments = {name: value for name, value in asked.items() if value is not None}
    return ask(args, "enforce", arguments)


def _percent(text: str) -> int:
    digits = text.removesuffix("%").strip()
    if not (digits.isascii() and digits.isdigit()) or not 0 <= int(digits) <= _ALL:
        raise ValueError(f"{text!r} is no whole number from 0 to {_ALL}")
    return int(digits)


def _read(
    option: str, text: str | None, parse: "Callable[[str], float]"
) -> float | None:
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise WrongUse(Problem(option, str(error))) from None
