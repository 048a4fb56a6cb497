# SPDX-License-Identifier: GPL-2.0-or-later
"""An order to the running daemon about what it acts on.

Knows how an order is sent, and that what is in force then is printed; does not know
what follows from it.
"""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vpngate.cli import options
from vpngate.daemon.outside.client import request

if TYPE_CHECKING:
    from vpngate.cli import Subparsers


class Order:
    """A command that is an order without options of its own: `verb`, by that name."""

    def __init__(self, verb: str, what: str) -> None:
        self._verb = verb
        self._what = what

    def add_parser(self, commands: "Subparsers") -> None:
        """Declare the command."""
        add_options(commands.add_parser(self._verb, help=self._what))

    def run(self, args: argparse.Namespace) -> int:
        """Ask for it, and print what is in force then; 1 if the daemon refuses."""
        return ask(args, self._verb)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What every order has: whom to ask, and for whom to print."""
    options.add_socket(parser)
    options.add_format(parser)


def ask(
    args: argparse.Namespace, verb: str, arguments: Mapping[str, Any] | None = None
) -> int:
    """Give the order, and print what is in force then; the exit status.

    Raises what `request` raises, Refused if the daemon says no.
    """
    answer = request(args.socket, verb, arguments, timeout=options.PATIENCE)
    options.show(args.format, answer, lambda: [answer["stance"]])
    return 0
