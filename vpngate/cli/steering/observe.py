# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate observe`: have the running daemon slow nobody, at once.

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
        "observe",
        help="have the running daemon slow nobody, at once",
        description="Have the running daemon slow nobody any more, within 100 ms,"
        " whatever else goes on.",
    )
    options.add_socket(parser)
    options.add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Ask for it, and print what is in force then; 1 if the daemon refuses."""
    answer = request(args.socket, "observe", timeout=options.PATIENCE)
    options.show(args.format, answer, lambda: [answer["stance"]])
    return 0
