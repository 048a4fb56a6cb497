# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate clear`: removes what a daemon that was killed left in the kernel.

Knows that only the table's name matters of a configuration, and how what was done is
told; does not know what may be left, nor what tells it from what is somebody else's.
"""

import argparse
from typing import TYPE_CHECKING

from vpngate.cli import complain, options

if TYPE_CHECKING:
    from vpngate.cli import Subparsers


def add_parser(commands: "Subparsers") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "clear",
        help="remove what a daemon that was killed left in the kernel",
        description="Remove what a daemon that was killed left in the kernel. While one"
        " runs nothing is changed; status 1.",
    )
    options.add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Remove it and say what; 1 if a daemon runs, or something is not ours."""
    from vpngate.cli import inputs
    from vpngate.config import table_of
    from vpngate.errors import InvalidConfig, Problem
    from vpngate.kernel.clearing import clear

    # A daemon may have been killed behind a change that was never taken, and what is
    # wrong has been told by what was to start: here nothing but the name is read.
    table = table_of(inputs.read_text(args.config))
    if table is None:
        what = "does not tell which nftables table is meant"
        raise InvalidConfig(
            [Problem(args.config, what, "mend it; see `vpngate check`")]
        )
    found = clear(table)
    for each in found.removed:
        print(f"removed  {each}")
    if not found.removed:
        print("nothing was left behind")
    complain(*(f"{problem}; left alone" for problem in found.foreign))
    return 1 if found.foreign else 0
