# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate reload`: have the running daemon reload, and wait for the outcome.

Knows the request; the daemon decides what changes, and whether to refuse.
"""

import argparse
from typing import TYPE_CHECKING

from vpngate.cli import options
from vpngate.cli.printing.named_rows import show_rows
from vpngate.daemon.outside.client import request

if TYPE_CHECKING:
    from vpngate.cli import Subparsers

# A million prefixes take the kernel some seconds, a slow mirror its time-out.
PATIENCE = 300.0  # seconds
# What the guard holds back, each by itself.
_ACCEPT = {
    "removals": "take a registry that lacks many, is empty, or misses a sentinel",
    "additions": "take a registry that covers many more addresses",
    "older": "go back to an older serial or signature, or to another registry",
}


def add_parser(commands: "Subparsers") -> None:
    """Declare the command."""
    parser = commands.add_parser("reload", help="have the running daemon reload")
    for name, what in _ACCEPT.items():
        parser.add_argument(
            f"--accept-{name}",
            action="store_true",
            help=f"a person has looked: {what}",
        )
    options.add_socket(parser)
    options.add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Reload and print what came of it; 1 if the daemon refuses."""
    arguments = {f"accept_{name}": getattr(args, f"accept_{name}") for name in _ACCEPT}
    outcome = request(args.socket, "reload", arguments, timeout=PATIENCE)
    if args.format == "json":
        options.show("json", outcome, list)
    else:
        show_rows(outcome)
    return 0
