# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate run`: the daemon, in the foreground.

Knows its options; the daemon knows the rest.
"""

import argparse
from typing import TYPE_CHECKING

from vpngate.cli import options

if TYPE_CHECKING:
    from vpngate.cli import Subparsers


def add_parser(commands: "Subparsers") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "run",
        help="the daemon, in the foreground",
        description="The daemon, in the foreground: recognises tunnels and keeps the"
        " kernel's table, until SIGTERM or SIGINT. Traffic flows without it, too.",
    )
    options.add_config(parser)
    options.add_socket(parser)


def run(args: argparse.Namespace) -> int:
    """Run the daemon until a signal ends it."""
    from vpngate import daemon
    from vpngate.cli import inputs

    daemon.run(inputs.read_config, args.config, args.socket)
    return 0
