# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate reload`: have the running daemon reload, and wait for the outcome.

Knows the request; the daemon decides what changes, and whether to refuse.
"""

import argparse
from typing import TYPE_CHECKING

from vpngate.cli import options
from vpngate.cli.status import rows
from vpngate.daemon.client import request

if TYPE_CHECKING:
    from vpngate.cli import Subparsers

# A million prefixes take the kernel some seconds, a slow mirror its time-out.
PATIENCE = 300.0  # seconds


def add_parser(commands: "Subparsers") -> None:
    """Declare the command."""
    parser = commands.add_parser("reload", help="have the running daemon reload")
    parser.add_argument(
        "--accept-removals",
        action="store_true",
        help="a person has looked: apply a registry that the guard holds back",
    )
    options.add_socket(parser)
    options.add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Reload and print what came of it; 1 if the daemon refuses."""
    arguments = {"accept_removals": args.accept_removals}
    outcome = request(args.socket, "reload", arguments, timeout=PATIENCE)
    options.show(args.format, outcome, lambda: rows(outcome))
    return 0
