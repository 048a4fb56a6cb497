# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate confirm`: have what is to be confirmed stay in force.

Knows the request; the daemon knows what follows.
"""

import argparse
from typing import TYPE_CHECKING

from vpngate.cli import options
from vpngate.daemon.outside.client import request

if TYPE_CHECKING:
    from vpngate.cli import Subparsers


def add_parser(commands: "Subparsers") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "confirm",
        help="say that what waits to be confirmed is well",
        description="Say that what `vpngate enforce --confirm-within` has begun is"
        " well, and stays.",
    )
    options.add_socket(parser)
    options.add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Ask for it, and print what is in force then; 1 if the daemon refuses."""
    answer = request(args.socket, "confirm", timeout=options.PATIENCE)
    options.show(args.format, answer, lambda: [answer["stance"]])
    return 0
