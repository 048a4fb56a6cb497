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
    from vpngate.kernel.clearing import clear

    found = clear(_table(args.config))
    for each in found.removed:
        print(f"removed  {each}")
    if not found.removed:
        print("nothing was left behind")
    complain(*(f"{problem}; left alone" for problem in found.foreign))
    return 1 if found.foreign else 0


def _table(path: str) -> str:
    """The table that a configuration names, also where it is wrong elsewhere.

    A daemon may have been killed behind a change that was never taken.
    """
    from vpngate.cli import inputs
    from vpngate.config import examine_config
    from vpngate.errors import InvalidConfig

    found = examine_config(
        inputs.read_text(path), where=path, known_tunnels=inputs.known_tunnels()
    )
    if found.config is None or "gateway" in found.faulty:
        raise InvalidConfig(found.problems)
    return found.config.gateway.table
