# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate status`: what the running daemon says of itself.

Knows how to print an answer for people or for programs; the daemon decides what
is in it.
"""

import argparse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vpngate.cli import options
from vpngate.daemon.outside.client import request
from vpngate.plaintext import plain

if TYPE_CHECKING:
    from vpngate.cli import Subparsers


def add_parser(commands: "Subparsers") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "status", help="the running daemon: mode, registry, flows, health"
    )
    options.add_socket(parser)
    options.add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print the daemon's state; 1 if it calls itself unhealthy."""
    state = request(args.socket, "status")
    options.show(args.format, state, lambda: rows(state))
    return 0 if state.get("healthy", True) else 1


def rows(state: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """The state as aligned lines; a table within it is indented below its name."""
    width = max((len(name) for name in state), default=0)
    for name, value in state.items():
        label = plain(name.replace("_", " "))
        if isinstance(value, Mapping) and value:
            yield f"{indent}{label}"
            yield from rows(value, indent + "  ")
        else:
            yield f"{indent}{label:<{width}}  {_spell(value)}"


def _spell(value: object) -> str:
    match value:
        case True | False:
            return "yes" if value else "no"
        case None | [] | {}:
            return "-"
        case list():
            return "; ".join(map(_spell, value))
        case _:
            return plain(str(value))
